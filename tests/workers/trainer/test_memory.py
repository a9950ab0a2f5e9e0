"""Admission: what a slot takes is known before it is taken in; out of memory is one slot's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.errors import DoesNotFit, NoRoomNow
from tunesmith.workers.trainer.memory import free_bytes, state_bytes
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]


def test_a_slots_state_is_what_the_arithmetic_says(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    cohort.join(spec(rank=16), rows(8))
    while cohort.progress("a").step < 1:
        cohort.step()
    tensors = cohort.state("a").tensors
    kept = sum(tensor.nbytes for tensor in tensors.values())  # weights and two moments
    assert kept * 4 / 3 == state_bytes(base.shape, 16, ())


def test_what_never_fits_is_refused_with_the_numbers(base: Base, rows: Rows, spec: Spec) -> None:
    need = state_bytes(base.shape, 64, ())
    cohort = Cohort(base, memory_bytes=need)
    with pytest.raises(DoesNotFit) as refusal:
        cohort.join(spec(rank=64), rows(8, lengths=(20, 20)))
    message = str(refusal.value)
    for fact in (f"{need / 1e6:,.0f} MB for weights", "LoRA rank 64", "(20 tokens)", "the device"):
        assert fact in message, message
    assert cohort.slots == ()
    cohort.join(spec(rank=4), rows(8, lengths=(20, 20)))


def test_what_does_not_fit_now_fits_when_somebody_left(base: Base, rows: Rows, spec: Spec) -> None:
    data = rows(8, lengths=(20, 20))
    roomy = Cohort(base)
    passes = roomy.memory.pass_bytes(40)
    state = state_bytes(base.shape, 32, ())
    cohort = Cohort(base, tokens_per_pass=40, memory_bytes=2 * (passes + 2 * state + state // 2))
    refusal = ""
    while not refusal:
        try:
            cohort.join(spec(str(len(cohort.slots)), rank=32), data)
        except NoRoomNow as error:
            refusal = str(error)
    assert len(cohort.slots) >= 2
    assert f"beside the {len(cohort.slots)} jobs in training" in refusal
    cohort.leave("0")
    cohort.join(spec("late", rank=32), data)


def test_longer_rows_than_fit_plainly_are_recomputed(base: Base, rows: Rows, spec: Spec) -> None:
    """The result is the same to rounding, and far less is kept for the backward pass."""
    plenty = Cohort(base)
    memory = plenty.memory
    assert memory.recomputed_token_bytes < memory.token_bytes / 1.5
    data = rows(6, lengths=(200, 200))
    plenty.join(spec(dropout=0.2), data)
    between = (memory.recomputed_token_bytes + memory.token_bytes) // 2
    capacity = state_bytes(base.shape, 4, ()) + memory.logits_bytes + 200 * between
    tight = Cohort(base, memory_bytes=capacity)
    tight.join(spec(dropout=0.2), data)
    losses = []
    for cohort in (plenty, tight):
        each: list[float] = []
        while not cohort.idle:
            each += [report.loss for report in cohort.step() if hasattr(report, "loss")]
        losses.append(each)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_free_memory_is_less_than_the_machine_has() -> None:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_bytes(torch.device("cpu")) < whole


_OUT_OF_MEMORY = """
import json, resource, sys
import torch
from array import array
from transformers import LlamaConfig, LlamaForCausalLM
from tunesmith.workers.trainer.base import as_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import SlotFailed
from tunesmith.workers.trainer.spec import SlotSpec

torch.set_num_threads(1)
torch.manual_seed(0)
# Wide layers and few of them: a token keeps much, the base takes little.
config = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=8192, num_hidden_layers=2,
    num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=16384,
    tie_word_embeddings=True,
)
base = as_base(LlamaForCausalLM(config), None, context_length=16384, stop_ids=frozenset({2}))

def rows(count, length):
    return [
        Row(array("i", [3 + (i * 7 + t) % 60 for t in range(length)]),
            bytes(length - 4) + bytes([1] * 4), i)
        for i in range(count)
    ]

def slot(name, batch):
    return SlotSpec(name=name, rank=2, alpha=4.0, learning_rate=1e-3, n_epochs=2, batch_size=batch)

def run(cohort):
    reports = []
    while not cohort.idle:
        reports += cohort.step()
    return reports

room = {"memory_bytes": 1 << 40, "tokens_per_pass": 4096}
alone = Cohort(base, **room)
alone.join(slot("small", 2), rows(6, 20))
run(alone)
expected = alone.adapter("small").digest

cohort = Cohort(base, **room)
cohort.join(slot("small", 2), rows(6, 20))
cohort.join(slot("large", 4), rows(4, ROW_TOKENS))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + MORE_BYTES, used + MORE_BYTES))
reports = run(cohort)
failed = [
    (r.slot, r.out_of_memory, r.example, r.reason) for r in reports if isinstance(r, SlotFailed)
]
print(json.dumps({
    "same": cohort.adapter("small").digest == expected,
    "failed": failed,
    "large": sum(1 for r in reports if r.slot == "large" and not isinstance(r, SlotFailed)),
}))
"""


def _with_limit(length: int, limit: int) -> dict[str, Any]:
    script = _OUT_OF_MEMORY.replace("ROW_TOKENS", str(length)).replace("MORE_BYTES", str(limit))
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "out of memory" in done.stderr or "failed" in done.stderr
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux's /proc")
def test_a_slot_that_runs_out_of_memory_goes_on_smaller_and_alone() -> None:
    """A token keeps about 0.5 MB: four rows of 800 don't fit in 900 MB, one does."""
    found = _with_limit(length=800, limit=900_000_000)
    assert found == {"same": True, "failed": [], "large": 2}


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux's /proc")
def test_a_row_that_can_never_be_computed_fails_its_slot_alone() -> None:
    found = _with_limit(length=6000, limit=900_000_000)
    assert found["same"] is True
    ((slot, out_of_memory, example, reason),) = found["failed"]
    assert (slot, out_of_memory) == ("large", True)
    assert f"example {example + 1} alone (6000 tokens)" in reason
