"""One judge for both sides: the mean loss of an adapter over rows, by stock PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every torch user knows
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM


def mean_loss(model: str | Path, adapter: str | Path, rows: str | Path) -> float:
    """Mean cross-entropy per learned token in nats, row by row in float32.

    Args:
        model: the base's directory.
        adapter: directory of an adapter in PEFT's format.
        rows: JSON file of {"input_ids", "labels"}.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, str(adapter)).eval()
    total, learned = 0.0, 0
    with torch.no_grad():
        for row in json.loads(Path(rows).read_text()):
            ids = torch.tensor([row["input_ids"]])
            labels = torch.tensor(row["labels"])[1:]
            logits = tuned(input_ids=ids, use_cache=False).logits[0, :-1]
            total += float(F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
            learned += int((labels != -100).sum())
    return total / learned
