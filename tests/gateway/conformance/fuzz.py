"""Requests made up by schemathesis from the gateway's own OpenAPI document.

`python -m tests.gateway.conformance.fuzz` (`make fuzz`) sends many, others each time; the test in
`test_fuzz.py` sends a smaller number, always the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import structlog
from tests.gateway.conformance.belongings import belongings
from tests.gateway.conftest import settings_for
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import ADMIN_KEY, BASE, Gateway

ROOT = Path(__file__).parents[3]
Role = Literal["tenant", "admin", "nobody"]
ROLES: tuple[Role, ...] = ("tenant", "admin", "nobody")

_COUNT = re.compile(r"^\s+([\d,]+) generated", re.MULTILINE)
_SERIES = re.compile(r'tunesmith_requests_total{method="(\w+)",route="(.+)",status="(\d+)"}')
_OWN = 0.6
"""Share of ids that exist among those that are sent; the others are made up."""


@dataclass(frozen=True)
class Fuzzed:
    """What came of a run: how many cases were sent, and schemathesis' report if one failed."""

    cases: int
    failed: bool
    report: str


class Target:
    """A gateway with a tenant that has one of everything."""

    def __init__(self, home: Path) -> None:
        self.engine = FakeEngine()
        self.engine.start()
        # An address of this machine is where the belongings' webhooks go.
        self.gateway = Gateway(settings_for(home, self.engine, webhook_private_addresses=True))
        self.tenant, friend = self.gateway.tenant(), self.gateway.tenant()
        self.owned = [belongings(self.gateway, self.tenant, friend) for _ in range(3)]
        self.changed = belongings(self.gateway, friend, self.tenant)
        self.engine.adapters |= {owned["digest"] for owned in self.owned}
        document = httpx.get(f"{self.gateway.url}/openapi.json", timeout=60).json()
        self.document: dict[str, Any] = document

    def stop(self) -> None:
        """End the gateway and its engine."""
        self.gateway.stop()
        self.engine.kill()

    def routes_that_answered(self, status: int) -> set[str]:
        """The routes that answered with this status since the gateway began."""
        found = set()
        for line in httpx.get(f"{self.gateway.url}/metrics").text.splitlines():
            series = _SERIES.match(line)
            if series is not None and series[3] == str(status):
                found.add(f"{series[1]} {series[2]}".replace(":path}", "}"))
        return found

    def ids(self, role: Role) -> dict[str, list[str]]:
        """Ids that exist, by the parameter where they go."""
        found: dict[str, list[str]] = {}
        for parameter, kind in _KINDS.items():
            found[parameter] = [owned[kind] for owned in self.owned]
        found["body.model"] = [*found["path.model"], *found["path.name"], BASE]
        if role == "admin":
            # A tenant whose key is not in use here: it may be suspended.
            found["path.tenant"], found["path.key"] = (
                [self.changed["tenant"]],
                [self.changed["key"]],
            )
        return found


_KINDS = {
    "path.file_id": "file",
    "path.upload_id": "upload",
    "path.job_id": "job",
    "path.fine_tuned_model_checkpoint": "model",
    "path.permission_id": "permission",
    "path.evaluation_id": "evaluation",
    "path.name": "alias",
    "path.model": "model",
    "path.batch_id": "batch",
    "path.webhook_endpoint_id": "webhook_endpoint",
    "path.key": "key",
    "body.training_file": "file",
    "body.validation_file": "file",
    "body.file": "file",
    "body.input_file_id": "batch_file",
    "body.candidate": "model",
    "body.baseline": "model",
    "body.evaluation": "evaluation",
}


def documented_for(document: dict[str, Any], role: Role) -> dict[str, Any]:
    """The document with the statuses alone that may be answered to `role`.

    `default` would document any status; without a key, only 401 is an answer.
    """
    changed: dict[str, Any] = json.loads(json.dumps(document))
    for item in changed["paths"].values():
        for operation in item.values():
            responses = operation["responses"]
            del responses["default"]
            if role == "nobody" and "401" in responses:
                operation["responses"] = {"401": responses["401"]}
    return changed


def fuzz(target: Target, role: Role, folder: Path, *, each: int, seed: int | None) -> Fuzzed:
    """Send at most `each` made-up cases to every operation, and those at the bounds of its schema.

    Args:
        folder: for schemathesis' files.
        seed: what the cases are made from; None: always the same ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = folder / "openapi.json"
    document.write_text(json.dumps(documented_for(target.document, role)))
    config = folder / "schemathesis.toml"
    config.write_text(_config(target, role, each=each, seed=seed))
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    done = subprocess.run(
        [*program, "run", str(document), "--url", target.gateway.url, "--no-color"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    report = done.stdout + done.stderr
    count = _COUNT.search(report)
    return Fuzzed(
        cases=0 if count is None else int(count[1].replace(",", "")),
        failed=done.returncode != 0,
        report=report,
    )


def _config(target: Target, role: Role, *, each: int, seed: int | None) -> str:
    keys = {"tenant": target.tenant.key, "admin": ADMIN_KEY, "nobody": None}
    ids = target.ids(role)
    lines = [
        'hooks = "tests.gateway.conformance.fuzz_checks"',
        "" if seed is None else f"seed = {seed}",
        # With two threads, CPython 3.11 at times fails to parse (python/cpython#106905).
        "workers = 1",
        "continue-on-failure = true",
        "request-timeout = 30.0",
        "warnings = false",
        f"headers = {{ Authorization = {json.dumps(f'Bearer {keys[role]}')} }}"
        if keys[role]
        else "",
        "[output.sanitization]",
        "enabled = false",
        "[generation]",
        f"max-examples = {each}",
        f"deterministic = {'true' if seed is None else 'false'}",
        "no-shrink = true",
        f"with-security-parameters = {'true' if role == 'nobody' else 'false'}",
        # It is refused before the key is looked at.
        f"allow-x00 = {'false' if role == 'nobody' else 'true'}",
        "[phases]",
        "examples.enabled = false",
        "stateful.enabled = false",
        "[checks]",
        *(f"{check}.enabled = false" for check in _NOT_CHECKED),
    ]
    for name, values in ids.items():
        lines += [f'[dictionaries."{name}"]', f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    for name in ids:
        lines.append(f'"{name}" = {{ dictionary = "{name}", probability = {_OWN} }}')
    # It says with 503 that a part is not ready, which is an answer.
    lines += [
        "[[operations]]",
        'include-path = "/readyz"',
        'checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]',
    ]
    return "\n".join(lines)


_NOT_CHECKED = ("positive_data_acceptance",)
"""A request that fits the schema may still name what does not exist, or a state that forbids it."""


def main() -> int:
    """Fuzz as every role; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=300, help="cases for every operation and role")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run")
    asked = parser.parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)  # what fails is in the report
    seed: int = secrets.randbelow(2**32) if asked.seed is None else asked.seed
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for role in ROLES:
            target = Target(folder / f"home-{role}")
            try:
                run = fuzz(target, role, folder / role, each=asked.each, seed=seed)
            finally:
                target.stop()
            print(run.report if run.failed else f"{role}: {run.cases:,} cases, all well answered")
            failed = failed or run.failed
    print(f"seed {seed}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
