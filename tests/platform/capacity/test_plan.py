"""`tunesmith plan`: what it finds, prints and draws, and what a mistake says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tunesmith.platform.capacity.bases import shape_of
from tunesmith.platform.capacity.calibration import shipped
from tunesmith.platform.capacity.estimate import engines_for, training_gpus
from tunesmith.platform.capacity.plan import Plan, Targets, make_plan
from tunesmith.platform.capacity.speeds import cohort_on, engine_on
from tunesmith.platform.capacity.workload import Workload
from tunesmith.platform.cli.plan import plan

CHART = Path(__file__).parents[3] / "charts" / "tunesmith"
SMALL = (
    "--tenants",
    "20",
    "--jobs-per-day",
    "40",
    "--requests",
    "2/s",
    "--base-size",
    "1.5b",
    "--no-evaluations",
)

app = typer.Typer()
app.command()(plan)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*SMALL, *arguments])


def made(jobs: float, requests: float, per_base: int = 1000, queue_wait: float = 600.0) -> Plan:
    workload = Workload(
        tenants=200, jobs_per_day=jobs, requests_per_second=requests, evaluated=False
    )
    return make_plan(
        workload, "a100", "8b", Targets(queue_wait=queue_wait), shipped(), per_base=per_base
    )


@given(
    st.floats(1, 1e5),
    st.floats(0.01, 1e4),
    st.floats(1.0, 5.0),
    st.sampled_from(["a10g", "l4", "a100", "h100", "h200"]),
)
def test_more_load_never_needs_fewer_gpus_by_the_estimate(
    jobs: float, requests: float, growth: float, gpu: str
) -> None:
    calibration, shape = shipped(), shape_of("8b")
    counts = []
    for factor in (1.0, growth):
        workload = Workload(100, jobs * factor, requests * factor)
        cohort = cohort_on(gpu, shape, workload, calibration, 16)
        engine = engine_on(gpu, shape, workload, calibration)
        counts.append(
            (
                training_gpus(workload, cohort, 60.0),
                engines_for(engine, workload.requests_per_second, workload.completion_tokens),
            )
        )
    assert counts[1][0] >= counts[0][0]
    assert counts[1][1] >= counts[0][1]


def test_more_load_needs_more_by_the_simulation_and_meets_the_targets() -> None:
    small, large = made(200, 5), made(2_000, 50)
    for each in (small, large):
        assert each.training.met
        assert each.serving.met
        assert each.training.wait(0.95) <= 600
        assert each.serving.first_token(0.95) <= 2
    assert small.training.most < large.training.most
    assert small.engine_gpus < large.engine_gpus
    assert small.training_cost + small.engine_cost < large.training_cost + large.engine_cost
    assert small.database.bytes_after_a_year < large.database.bytes_after_a_year


def test_a_short_wait_keeps_a_gpu_that_a_long_one_gives_back() -> None:
    patient, hurried = made(10, 1, queue_wait=600.0), made(10, 1, queue_wait=60.0)
    assert patient.training.least == 0
    assert hurried.training.least >= 1
    assert hurried.training.workers_mean > patient.training.workers_mean


def test_what_one_cohort_of_a_base_cannot_carry_is_said() -> None:
    found = made(3_000, 1, per_base=1)
    assert not found.training.met
    assert found.training.most == 1
    assert any("trains each base in 1 cohort at a time" in text for text in found.warnings)
    assert found.first_full.name == "cohorts"


def test_the_same_seed_gives_the_same_plan() -> None:
    workload = Workload(50, 30, 1, evaluated=False)
    one, two, other = (
        make_plan(workload, "h100", "8b", Targets(), shipped(), seed=seed).as_json()
        for seed in (5, 5, 6)
    )
    assert one == two
    assert one["training"] != other["training"]


def test_it_says_and_draws_what_is_needed_felt_full_and_unsure(tmp_path: Path) -> None:
    path = tmp_path / "plan.svg"
    result = run("--plot", str(path))
    assert result.exit_code == 0, result.output
    text = path.read_text()
    ElementTree.fromstring(text)
    assert "busy at the peak" in text
    for text in (
        "20 tenants, 40 jobs a day, 2 requests/s",
        "GPUs to train", "GPUs to serve", "PostgreSQL", "USD for GPUs",
        "a job waits", "first token", "requests that wait for an adapter's load",
        "Saturates first:", "30 % faster or slower", "are assumptions", "seed 1",
    ):  # fmt: skip
        assert text in result.output


def test_json_holds_every_figure_with_its_basis() -> None:
    content = json.loads(run("--json", "--gpu-hour-price", "2").output)
    assert content["training"]["gpus_max"] >= 1
    assert content["training"]["simulated_jobs"] > 1000
    assert content["cost"]["engines_per_month"] == pytest.approx(
        content["serving"]["gpus"] * 730.5 * 2
    )
    assert {figure["basis"] for figure in content["figures"]} <= {
        "measured", "published", "assumed",
    }  # fmt: skip
    assert content["saturates_first"] in {part["name"] for part in content["parts"]}


def test_values_are_the_charts() -> None:
    snippet = yaml.safe_load(run("--values").output)
    own = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(snippet) <= set(own)
    assert set(snippet["gateway"]) <= set(own["gateway"])
    (group,) = snippet["ray"]["workerGroups"].values()
    assert set(group) <= set(own["ray"]["workerGroupDefaults"])
    engine = snippet["bases"]["my-base"]["engine"]
    assert set(engine) <= set(own["engineDefaults"])
    assert engine["maxCpuLoras"] >= engine["maxLoras"] >= 1
    assert set(own["engineDefaults"]["resources"]) >= set(engine["resources"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--requests", "many"), "give a number with its unit"),
        (("--requests", "0/s"), r"--requests must be from"),
        (("--gpu", "v100"), "'v100' is no GPU of the calibration; it has cpu, a10g"),
        (("--base-size", "huge"), "no size of a base"),
        (("--base-size", "70b", "--gpu", "l4"), "even in 4 bit"),
        (("--peak", "9"), "--peak must be from 1 to"),
        (("--ttft-target", "soon"), "give a time above 0"),
        (("--calibration", "/no/such.toml"), "cannot be read"),
        (("--values", "--json"), "exclude each other"),
        (("--plot", "plan.pdf"), r"must end in \.svg or \.png"),
        (("--plot", "/no/such/plan.svg"), "cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(Exception, match=said):
        run_raising(*arguments)


def run_raising(*arguments: str) -> None:
    CliRunner().invoke(app, [*SMALL, *arguments], catch_exceptions=False, standalone_mode=False)
