"""Engines in virtual time: against theory, the routing benchmark, and what others published."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.capacity.bases import Shape
from tunesmith.platform.capacity.calibration import shipped
from tunesmith.platform.capacity.estimate import engine_rate, running
from tunesmith.platform.capacity.serving import Demand, Residency, ServingSimulation
from tunesmith.platform.capacity.speeds import Engine, engine_on
from tunesmith.platform.capacity.theory import lru_hit_ratio, zipf
from tunesmith.platform.capacity.workload import Workload

INSTANT = 1e-9


def engine(**values: float) -> Engine:
    fields = {
        "gpus": 1,
        "prompt_seconds": INSTANT,
        "step_seconds": 0.02,
        "sequence_seconds": 0.0,
        "max_running": 256,
        "kv_requests": 256,
        "max_loras": 64,
        "max_cpu_loras": 64,
        "load_seconds": 0.5,
        "stall_seconds": INSTANT,
    }
    return Engine(**(fields | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("residency", "loads", "first_token"),
    # docs/performance.md, routing: measured with the gateway's own code, less its 50 ms of prompt.
    [("worth", 95.9, 0.048), ("lru", 130.0, 0.066)],
)
def test_loads_are_those_of_the_gateways_own_router(
    residency: Residency, loads: float, first_token: float
) -> None:
    demand = Demand(rate=120.0, shares=zipf(1000, 1.0), completion_tokens=40)
    shape = engine(max_running=32, kv_requests=32, max_loras=16)
    outcome = ServingSimulation(shape, 8, demand, residency=residency).run(2_000, 12_000)
    per_thousand = 1000 * outcome.loads / outcome.requests
    assert per_thousand == pytest.approx(loads, rel=0.08)
    assert statistics.fmean(outcome.first_tokens) == pytest.approx(first_token, rel=0.1)


def test_an_engine_that_evicts_by_age_hits_as_che_says() -> None:
    shares = zipf(400, 0.9)
    # Loads are instant and requests short: nothing is pinned, nobody waits for one under way.
    shape = engine(max_cpu_loras=100, load_seconds=INSTANT, step_seconds=1e-6)
    demand = Demand(rate=10.0, shares=shares, completion_tokens=2)
    outcome = ServingSimulation(shape, 1, demand, residency="lru", seed=4).run(4_000, 20_000)
    hits = 1 - outcome.cold / outcome.requests
    assert hits == pytest.approx(lru_hit_ratio(shares, 100), abs=0.015)


def test_requests_in_a_batch_are_littles() -> None:
    shape = engine(prompt_seconds=0.01, step_seconds=0.015, sequence_seconds=0.0001)
    demand = Demand(rate=20.0, shares=[1.0], completion_tokens=100)
    outcome = ServingSimulation(shape, 1, demand).run(2_000, 8_000)
    assert outcome.carried
    assert outcome.mean_running == pytest.approx(running(shape, 20.0, 100), rel=0.12)


def test_what_an_engine_carries_is_where_it_stops_keeping_up() -> None:
    shape = engine(prompt_seconds=0.01, sequence_seconds=0.0005, max_running=64)
    most = engine_rate(shape, 100)
    for share, carried in ((0.85, True), (1.25, False)):
        demand = Demand(rate=share * most, shares=[1.0], completion_tokens=100)
        outcome = ServingSimulation(shape, 1, demand).run(1_000, 15_000)
        waited = statistics.quantiles(outcome.first_tokens, n=20)[-1] if outcome.carried else 1e9
        assert (waited < 5.0) is carried


@pytest.mark.parametrize(("lora_factor", "published"), [(1.0, 11.45), (1.5, 7.60)])
def test_the_roofline_agrees_with_what_vllm_published(lora_factor: float, published: float) -> None:
    """Pull request 11267 of vLLM: requests/s of Llama 2 7B on an A100 with ShareGPT's prompts.

    Their 245 prompt and 235 answer tokens in the mean are by the rates that it gives.
    """
    llama = Shape("llama-2-7b", 32, 4096, 11008, 4096, 32000)
    asked = Workload(1, 1, 1, prompt_tokens=245, completion_tokens=235, rank=8)
    calibration = shipped().scaled(["engine.lora_factor"], lora_factor / 1.5)
    found = engine_rate(engine_on("a100", llama, asked, calibration), 235)
    assert found == pytest.approx(published, rel=0.05)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 200),
    st.floats(0.1, 30.0),
    st.integers(1, 8),
    st.integers(1, 20),
)
def test_no_request_is_lost(
    engines: int, models: int, rate: float, max_loras: int, places: int
) -> None:
    shape = engine(
        max_loras=max_loras, max_cpu_loras=max(places, max_loras), max_running=8, kv_requests=8
    )
    demand = Demand(
        rate=rate, shares=zipf(models, 1.0), completion_tokens=5, base_rate=1.0, publications=0.1
    )
    outcome = ServingSimulation(shape, engines, demand).run(0, 200)
    assert outcome.requests == len(outcome.first_tokens) == outcome.finished == 200
    assert outcome.left == 0
    assert outcome.cold <= outcome.requests
    assert min(outcome.first_tokens) > 0


def test_one_engine_of_many_adapters_waits_for_slots_not_for_compute() -> None:
    few, many = engine(max_loras=2), engine(max_loras=64)
    demand = Demand(rate=8.0, shares=[1 / 50] * 50, completion_tokens=50)
    slow, fast = (ServingSimulation(each, 1, demand).run(200, 2_000) for each in (few, many))
    assert max(fast.first_tokens) < 1.0 < statistics.median(slow.first_tokens)
