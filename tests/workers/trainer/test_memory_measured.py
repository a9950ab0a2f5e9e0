"""What admission takes a pass for, beside what the process really takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PASS = """
import json
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from tunesmith.workers.trainer.base import as_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

TOKENS = 1536
torch.set_num_threads(1)
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=512, hidden_size=128, intermediate_size=2048, num_hidden_layers=8,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
)
base = as_base(LlamaForCausalLM(config), None, context_length=2048, stop_ids=frozenset({2}))
row = Row.of([3 + t % 500 for t in range(TOKENS)], bytes(1) + bytes([1]) * (TOKENS - 1))

def kilobytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

def peak(recomputes, estimate):
    room = 1 << 40 if not recomputes else estimate
    cohort = Cohort(base, tokens_per_pass=TOKENS, memory_bytes=room)
    slot = SlotSpec(name="a", rank=4, alpha=8.0, learning_rate=1e-3, n_epochs=2, batch_size=1)
    cohort.join(slot, [row])
    cohort.memory  # its own passes are over
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak is now what there is
    before = kilobytes("VmRSS:")
    cohort.step()
    taken = (kilobytes("VmHWM:") - before) * 1024
    memory = cohort.memory
    need = memory.need(base.shape, 4, (), TOKENS)
    assert need.recomputes == recomputes
    return {"taken": taken, "estimate": need.activations, "state": need.state, "memory": [
        memory.token_bytes, memory.recomputed_token_bytes, memory.logits_bytes]}

plain = peak(False, 0)
whole, least, logits = plain["memory"]
between = plain["state"] + logits + TOKENS * (whole + least) // 2
print(json.dumps([plain, peak(True, between)]))
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc/self/clear_refs"
)
def test_estimates_are_within_a_factor_of_two() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PASS],
        capture_output=True,
        text=True,
        check=False,
        # Freed blocks go back to the system at once, so that a peak is what is in use.
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    plain, recomputed = json.loads(done.stdout.strip().splitlines()[-1])
    for found in (plain, recomputed):
        assert 0.5 < found["taken"] / found["estimate"] < 1.2, (plain, recomputed)
    assert recomputed["taken"] < 0.6 * plain["taken"]
