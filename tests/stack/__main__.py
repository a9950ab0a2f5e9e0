"""`python -m tests.stack up`: the chart as local processes, to play with by hand, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from .node.network import NoNetwork
from .node.programs import MissingProgram
from .stack import Stack, merged, running_stack


def main() -> int:
    """Start, say where everything is, and wait."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description=__doc__)
    parser.add_argument("do", choices=["up", "test"], help="up: leave it running; test: helm test")
    parser.add_argument("-f", "--values", action="append", default=[], help="further values")
    parser.add_argument("--bare", action="store_true", help="these values alone")
    parser.add_argument("--s3", choices=["rclone", "moto"], default="rclone")
    parser.add_argument("--seconds", type=float, default=600, help="longest wait for readiness")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with running_stack(s3=options.s3) as stack:
            if options.bare:
                stack.values = {}
            for path in options.values:
                stack.values = merged(stack.values, yaml.safe_load(Path(path).read_text()))
            print("installing the chart: migration first, then all the rest", flush=True)
            stack.apply()
            stack.wait_ready(options.seconds)
            show(stack)
            if options.do == "test":
                stack.release.test()
                print("helm test has passed")
                return 0
            with contextlib.suppress(KeyboardInterrupt):
                follow(stack)
    except (NoNetwork, MissingProgram) as missing:
        sys.exit(str(missing))
    except KeyboardInterrupt:
        return 130
    return 0


def show(stack: Stack) -> None:
    """Where things are."""
    facts: dict[str, Any] = {
        "gateway": stack.url,
        "admin_key": stack.key_of_administrator(),
        "database": stack.database_url,
        "redis": stack.redis.url,
        "s3": {"url": stack.s3.url, "key": stack.s3.key, "secret": stack.s3.secret},
        "logs": str(stack.folder / "cluster" / "pods"),
        "pods": {
            pod.name: {
                "address": pod.address,
                "pid": {c.described.name: c.pid for c in pod.containers},
            }
            for pod in stack.cluster.pods
            if pod.ready
        },
    }
    print(json.dumps(facts, indent=2), flush=True)
    print("nsenter -t PID -a puts you into a container; Ctrl-C ends everything", flush=True)


def follow(stack: Stack) -> None:
    """Print what happens to pods as it happens."""
    told: dict[str, int] = {}
    while True:
        for pod in [*stack.cluster.past, *stack.cluster.pods]:
            for event in pod.events[told.get(pod.name, 0) :]:
                print(f"{pod.name}: {event}", flush=True)
            told[pod.name] = len(pod.events)
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
