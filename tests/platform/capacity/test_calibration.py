"""Calibration files: what they may hold, and what a mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.capacity.calibration import (
    BASES,
    Figure,
    as_toml,
    read_calibration,
    shipped,
)
from tunesmith.platform.domain.errors import InvalidRequest

OWN = """
[training.worker_seconds]
value = 90
unit = "s"
basis = "measured"
source = "our cluster, 20 starts"

[hardware.mi300x.memory_gib]
value = 192
unit = "GiB"
basis = "published"
source = "AMD"
"""


def test_every_shipped_figure_says_where_it_is_from() -> None:
    for figure in shipped().figures:
        assert figure.value > 0
        assert len(figure.source) > 5, figure.name
        # No GPU was there to measure on: nothing of one may say so.
        if figure.name.startswith("hardware.") and ".cpu." not in figure.name:
            assert figure.basis != "measured", figure.name


def test_a_file_of_ones_own_replaces_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    calibration = read_calibration(path)
    assert calibration["training.worker_seconds"] == 90
    assert calibration["hardware.mi300x.memory_gib"] == 192
    assert calibration["training.start_seconds"] == shipped()["training.start_seconds"]
    assert next(f.source for f in calibration.used) == "our cluster, 20 starts"
    assert "mi300x" in calibration.group("hardware")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("worker_seconds", "wroker_seconds", "unknown figure training.wroker_seconds"),
        ("memory_gib", "colour", "unknown figure hardware.mi300x.colour"),
        ("value = 90", "value = 0", "value must be above 0"),
        ("value = 90", "value = true", "value must be a number"),
        ("value = 90", "value = nan", "value must be a number"),
        ('unit = "s"', 'unit = "min"', "is in s, not in min"),
        ('"measured"', '"guessed"', "basis must be one of measured, published, assumed"),
        ('source = "AMD"', 'source = " "', "source must be a text"),
        ('source = "AMD"', "", "needs exactly basis, source, unit, value"),
        ("[training.worker_seconds]", "[training", "not valid TOML"),
        ("[training.worker_seconds]", "training = 3\n[a]", "training is no figure"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(before, after, 1))
    with pytest.raises(InvalidRequest, match=said):
        read_calibration(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none\.toml cannot be read: No such file"):
        read_calibration(tmp_path / "none.toml")


_FIGURES = [f for f in shipped().figures if f.name.startswith(("training.", "engine."))]


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(_FIGURES), unique_by=lambda f: f.name),
    st.floats(1e-6, 1e12),
    st.sampled_from(BASES),
    st.text(st.characters(exclude_categories=["C"], exclude_characters="\n"), min_size=1).filter(
        str.strip
    ),
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    kept: list[Figure],
    value: float,
    basis: str,
    source: str,
) -> None:
    own = [Figure(f.name, value, f.unit, basis, source) for f in kept]  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("calibration") / "own.toml"
    path.write_text(as_toml(own), "utf-8")
    read = {f.name: f for f in read_calibration(path).figures}
    assert all(read[f.name] == f for f in own)
