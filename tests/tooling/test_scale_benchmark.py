"""What make bench-scale writes: a calibration that `tunesmith plan` takes, and plots."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.benchmarks.scale import growth
from tests.benchmarks.scale.calibrating import write_calibration

from tunesmith.platform.capacity.calibration import read_calibration, shipped

MACHINE = {"processor": "a test's", "cores": 2}


def figures(**values: tuple[float, str]) -> dict[str, object]:
    return {
        "machine": MACHINE,
        "figures": [
            {"name": name, "value": value, "unit": unit} for name, (value, unit) in values.items()
        ],
    }


def test_measured_figures_become_a_calibration(tmp_path: Path) -> None:
    step = "CPU of steps written, one in a transaction, 1 client, of"
    scale = figures(
        **{
            f"{step} a client": (3.0, "ms"),
            f"{step} PostgreSQL": (1.5, "ms"),
            "a step's event, more, with indexes": (900.0, "bytes"),
        }
    )
    (tmp_path / "scale.json").write_text(json.dumps(scale))
    gpu = figures(**{"16 slots, achieved": (400.0, "TFLOP/s")})
    (tmp_path / "gpu.json").write_text(json.dumps(gpu))

    own = read_calibration(write_calibration(tmp_path, "h100"))

    assert own["dispatcher.step_seconds"] == pytest.approx(0.0045)
    assert own["database.event_bytes"] == 900
    assert own["hardware.h100.training_efficiency"] == pytest.approx(400 / 989)
    assert own["dispatcher.claim_seconds"] == shipped()["dispatcher.claim_seconds"]
    assert {figure.basis for figure in own.used[:3]} == {"measured"}
    with pytest.raises(ValueError, match="no hardware 'toaster'"):
        write_calibration(tmp_path, "toaster")


def test_plans_by_size_are_drawn(tmp_path: Path) -> None:
    section = growth.measure(shipped(), tmp_path, quick=True)
    found = {figure.name: figure.value for figure in section.figures}
    assert found["10 tenants, engines"] <= found["1,000 tenants, engines"]
    for name in ("scale-fleet.svg", "scale-parts.svg"):
        ElementTree.fromstring((tmp_path / name).read_text())
