"""From what benchmarks measured on this machine to a calibration of `tunesmith plan`.

It reads scale.json, and gpu.json and gateway.json where they are there, of build/bench.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunesmith.platform.capacity.calibration import Figure, as_toml, shipped

_FLOP_PER_TERA = 1e12


def write_calibration(folder: Path, hardware: str | None) -> Path:
    """Write `calibration.toml` into `folder`, from the benchmarks' files there.

    Args:
        hardware: what the calibration calls the GPU of gpu.json; without it, that is left out.
    """
    figures = _database(_read(folder / "scale.json")) if (folder / "scale.json").is_file() else []
    if (folder / "gateway.json").is_file():
        figures += _gateway(_read(folder / "gateway.json"))
    if hardware is not None:
        figures += _gpu(_read(folder / "gpu.json"), hardware)
    path = folder / "calibration.toml"
    path.write_text(as_toml(figures), "utf-8")
    return path


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def _database(content: dict[str, Any]) -> list[Figure]:
    found = {figure["name"]: figure["value"] for figure in content["figures"]}
    where = _where(content, "make bench-scale, CPU of client and PostgreSQL")
    claim, life, step = (
        _seconds(found, name)
        for name in (
            "jobs claimed and given back",
            "jobs from claim to model, without steps",
            "steps written, one in a transaction",
        )
    )
    renewed = found.get("CPU of renewing 160 leases, both")
    usage = _seconds(found, "usage rows added, 100 in a transaction")
    waiting = found.get(_bytes("a job that waits"))
    ended = found.get(_bytes("a job until its model, more"))
    values = {
        "dispatcher.claim_seconds": claim / 2 if claim else None,  # of it, giving back is half
        "dispatcher.job_seconds": life,
        "dispatcher.step_seconds": step,
        "dispatcher.lease_seconds": renewed / 160_000 if renewed else None,
        "database.usage_rows_per_second": 1 / usage if usage else None,
        "database.tenant_bytes": found.get(_bytes("a tenant and its key")),
        "database.job_bytes": None if waiting is None or ended is None else waiting + ended,
        "database.event_bytes": found.get(_bytes("a step's event, more")),
        "database.usage_bytes": found.get(_bytes("a row of usage")),
    }
    return [_figure(name, value, where) for name, value in values.items() if value is not None]


def _gateway(content: dict[str, Any]) -> list[Figure]:
    found = {figure["name"]: figure for figure in content["figures"]}
    where = _where(content, "make bench-gateway")
    figures = []
    for name, figure in found.items():
        if "CPU time of a streamed chunk" in name and figure["unit"] == "us":
            figures.append(_figure("gateway.chunk_seconds", figure["value"] / 1e6, where))
    return figures


def _gpu(content: dict[str, Any], hardware: str) -> list[Figure]:
    """The share of the GPU's peak that 16 slots reach, in the mean of the shapes."""
    rates = [
        figure["value"]
        for figure in content["figures"]
        if figure["name"] == "16 slots, achieved" and figure["unit"] == "TFLOP/s"
    ]
    if not rates:
        raise ValueError("gpu.json has no run with 16 slots")
    own = {figure.name: figure.value for figure in shipped().figures}
    peak = own.get(f"hardware.{hardware}.teraflops")
    if peak is None:
        raise ValueError(f"the calibration has no hardware {hardware!r}")
    where = _where(content, "python -m tests.benchmarks.gpu")
    return [
        _figure(f"hardware.{hardware}.training_efficiency", sum(rates) / len(rates) / peak, where)
    ]


def _figure(name: str, value: float, where: str) -> Figure:
    unit = next(figure.unit for figure in shipped().figures if figure.name == name)
    return Figure(name, value, unit, "measured", where)


def _seconds(found: dict[str, float], work: str) -> float | None:
    """CPU of client and server together: what a loop that waits for its database takes at least."""
    parts = [found.get(f"CPU of {work}, 1 client, of {who}") for who in ("a client", "PostgreSQL")]
    return None if None in parts else sum(part or 0.0 for part in parts) / 1000


def _bytes(name: str) -> str:
    return f"{name}, with indexes"


def _where(content: dict[str, Any], command: str) -> str:
    machine = content.get("machine", {})
    return f"{command}, {machine.get('processor', 'unknown')}, {machine.get('cores', '?')} cores"
