"""How fast one part is: against docs/performance.md, and what does not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.capacity.bases import SHAPES, shape_of
from tunesmith.platform.capacity.calibration import shipped
from tunesmith.platform.capacity.speeds import cohort_on, engine_on
from tunesmith.platform.capacity.workload import Workload
from tunesmith.platform.domain.errors import InvalidRequest

# docs/performance.md, section 5: batches of 4 rows of 20 to 120 tokens.
BENCHED = Workload(1, 1, 1, example_tokens=70, batch=4, learned_share=0.3)


@pytest.mark.parametrize(("jobs", "measured"), [(1, 7378 / 1.18), (16, 7378)])
def test_the_pocket_base_trains_as_it_was_measured(jobs: int, measured: float) -> None:
    cohort = cohort_on("cpu", shape_of("pocket"), BENCHED, shipped(), 16)
    assert cohort.tokens_per_second(jobs) == pytest.approx(measured, rel=0.1)


def test_sizes_are_those_of_the_models() -> None:
    # Parameters by the models' cards, both embeddings counted.
    for name, billions in (("8b", 8.03), ("7b", 7.6), ("70b", 70.6), ("14b", 14.8)):
        assert shape_of(name).weights_bytes / 2e9 == pytest.approx(billions, rel=0.02)
    assert shape_of("8B") == shape_of("8") == SHAPES["8b"]
    assert shape_of("8b").kv_bytes == 131_072
    # PEFT's own count of Llama 3.1 8B at rank 16 on all linear layers.
    assert shape_of("8b").lora_parameters(16) == 41_943_040


@given(st.floats(0.2, 300))
def test_any_size_has_about_so_many_parameters(billions: float) -> None:
    size = f"{billions:.2f}b"
    shape = shape_of(size)
    found = shape.linear_weights + shape.embedding_weights
    assert found == pytest.approx(float(size[:-1]) * 1e9, rel=0.35)


@pytest.mark.parametrize("size", ["", "big", "-1b", "0.01b", "9999b", "8b8"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(InvalidRequest, match="is no size of a base"):
        shape_of(size)


def test_a_base_too_large_says_which_gpu_would_do() -> None:
    calibration = shipped()
    large = cohort_on("l4", shape_of("14b"), Workload(1, 1, 1), calibration, 16)
    assert large.quantized
    assert not cohort_on("a100", shape_of("14b"), Workload(1, 1, 1), calibration, 16).quantized
    with pytest.raises(InvalidRequest, match=r"even in 4 bit.* Try a100 or h100 or h200"):
        cohort_on("l4", shape_of("70b"), Workload(1, 1, 1), calibration, 16)
    # Engines may have several GPUs each.
    assert engine_on("h100", shape_of("70b"), Workload(1, 1, 1), calibration).gpus == 2
    with pytest.raises(InvalidRequest, match="does not fit into 8 GPUs l4"):
        engine_on("l4", shape_of("300b"), Workload(1, 1, 1), calibration)


@given(st.integers(1, 64), st.sampled_from(["a10g", "l4", "a100", "h100", "h200"]))
def test_more_jobs_side_by_side_train_no_slower_in_all(jobs: int, gpu: str) -> None:
    cohort = cohort_on(gpu, shape_of("3b"), Workload(1, 1, 1), shipped(), 64)
    assert cohort.tokens_per_second(jobs + 1) >= cohort.tokens_per_second(jobs)
    assert cohort.job_speed(jobs + 1) <= cohort.job_speed(jobs)
