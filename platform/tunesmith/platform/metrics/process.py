"""What a process is: its version, since when it runs, what it takes of its machine."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from tunesmith.platform.database.schema import known_revisions


def describe_process(registry: CollectorRegistry, process: str) -> None:
    """Have `registry` tell build, start, CPU, memory and open files of this process.

    `tunesmith_build_info` is 1; its labels say which `process` it is (gateway, dispatcher,
    evaluator), its version, and the newest schema that it knows.
    """
    Gauge(
        "tunesmith_build_info",
        "1, with what this process is: its version, and the newest schema that it knows.",
        ["process", "version", "schema"],
        registry=registry,
    ).labels(process, version("tunesmith"), known_revisions()[-1]).set(1)
    ProcessCollector(registry=registry)
