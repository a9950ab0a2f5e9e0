"""The benchmarks' statistics, tables and JSON are right, and their smallest run works."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.figures import (
    Figure,
    Section,
    alternate,
    percentile,
    ratios,
    table,
    write,
)
from tests.benchmarks.growth import Track, fairness
from tests.benchmarks.sides import PEER_LOCK
from tests.benchmarks.sixteen_jobs import JOBS, process_jobs
from tests.benchmarks.workload import SHORT, Workload, exported, size

ROOT = Path(__file__).parents[2]
numbers = st.floats(min_value=1e-3, max_value=1e6)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_a_figure_is_the_median_with_its_spread(values: list[float]) -> None:
    figure = Figure.of("speed", values, "x")

    assert figure.value == statistics.median(values)
    assert figure.spread == ((min(values), max(values)) if len(values) > 1 else None)


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_a_figure_of_nothing_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="no median"):
        Figure.of("speed", values, "x")


@pytest.mark.parametrize(
    ("value", "higher_is_better", "met"),
    [(1.3, True, True), (1.29, True, False), (1.3, False, True), (1.31, False, False)],
)
def test_a_target_has_a_good_side(value: float, higher_is_better: bool, met: bool) -> None:
    assert Figure("a", value, "x", 1.3, higher_is_better).met is met
    assert Figure("a", value, "x", None, higher_is_better).met is None


@given(st.lists(numbers, min_size=1), st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_the_smallest_value_that_covers_the_share(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_rounds_alternate_their_order() -> None:
    order: list[str] = []

    def side(name: str, number: int) -> int:
        order.append(name)
        return number

    found = alternate(3, {"a": lambda n: side("a", n), "b": lambda n: side("b", n)})

    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [0, 1, 2], "b": [0, 1, 2]}


def test_ratios_are_taken_within_a_round() -> None:
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def section() -> Section:
    return Section(
        2,
        "Sixteen jobs",
        figures=[
            Figure("ours", 12345.6, "tokens/s"),
            Figure("in turn, over ours", 1.25, "x", 1.5, note="because"),
            Figure("processes, over ours", 7.0, "x", 6.0, spread=(6.5, 7.5)),
        ],
        held_equal={"rank": 16},
        runs={"ours": [{"wall": 1.5}]},
    )


def test_a_table_has_ratios_first_and_says_what_was_missed() -> None:
    lines = table(section()).splitlines()

    assert lines[0] == "2. Sixteen jobs"
    assert [line.split()[0] for line in lines[2:5]] == ["in", "processes,", "ours"]
    assert lines[2].split()[-4:] == ["at", "least", "1.5x", "MISSED"]
    assert "6.50 to 7.50" in lines[3]
    assert lines[3].endswith("met")
    assert "12,346 tokens/s" in lines[4]
    assert "   - in turn, over ours: because" in lines
    assert "   held equal: rank 16" in lines


def test_the_json_has_the_list_of_figures_and_every_raw_run(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "train.json"
    write(path, [section()], {"machine": {"cores": 2}})

    content = json.loads(path.read_text())
    assert content["machine"] == {"cores": 2}
    assert content["figures"][0] == {
        "name": "in turn, over ours",
        "value": 1.25,
        "unit": "x",
        "target": 1.5,
        "higher_is_better": True,
    }
    assert len(content["figures"]) == 3
    assert content["sections"][0]["held_equal"] == {"rank": 16}
    assert content["sections"][0]["runs"] == {"ours": [{"wall": 1.5}]}
    assert [p.name for p in path.parent.iterdir()] == ["train.json"]


def test_the_large_job_slows_down_by_the_share_it_gave() -> None:
    """Alone 100 tokens/s; beside a small job that gets 25 tokens/s, 75: a quarter each."""
    alone = Track(0.0, [1.0, 2.0, 3.0], [100, 100, 100])
    small = Track(10.0, [12.0, 14.0], [50, 50])
    large = Track(0.0, [9.0, 11.0, 13.0, 15.0], [150, 150, 150, 150])

    assert fairness(alone, small, large) == pytest.approx((0.25, 0.25))


def test_the_first_round_runs_every_process_and_the_later_ones_others_each_time() -> None:
    assert process_jobs(0, JOBS) == list(range(JOBS))
    later = [number for round_ in (1, 2, 3, 4) for number in process_jobs(round_, JOBS)]
    assert later == list(range(8))


def test_both_sides_read_the_same_short_rows(tmp_path: Path) -> None:
    workload = Workload(tmp_path)
    rows = workload.rows(30, seed=3)

    lengths = [len(row) for row in rows]
    assert len(rows) == 30
    assert SHORT[0] <= min(lengths) < 60 < max(lengths) <= SHORT[1]
    assert rows == workload.rows(30, seed=3)
    read = json.loads(workload.file(30, seed=3).read_text())
    assert read == [exported(row) for row in rows]
    learned = sum(label != -100 for row in read for label in row["labels"])
    assert learned == size(rows)["learned_tokens"] > 0


def test_the_peer_is_pinned_to_our_own_libraries() -> None:
    """Another torch or transformers on TRL's side would be what is measured."""
    ours = (ROOT / "requirements" / "lock.txt").read_text().splitlines()
    theirs = PEER_LOCK.read_text().splitlines()

    for name in ("torch", "transformers", "peft", "accelerate"):
        (pin,) = [line for line in theirs if line.startswith(f"{name}==")]
        assert pin in ours
    assert sum("--hash=sha256:" in line for line in theirs) >= sum("==" in line for line in theirs)


def test_the_gpu_benchmark_runs_in_small_on_a_cpu(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    words = ["--device", "cpu", "--shape", "tiny", "--slots", "1", "2", "--lengths", "8", "24"]
    words += ["--steps", "1", "--repeats", "1", "--output", str(output)]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gpu", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    content = json.loads(output.read_text())
    figures = {figure["name"]: figure for figure in content["figures"]}
    for name in ("step-0 gradients, largest distance", "change after 20 steps, largest distance"):
        assert 0 < figures[name]["value"] <= figures[name]["target"]
    assert {"1 slots", "2 slots", "PEFT one after another", "exactness"} == set(
        content["sections"][0]["runs"]
    )
