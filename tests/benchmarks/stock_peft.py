"""Stock PEFT with torch's AdamW on padded batches: the reference, and the peer on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from tunesmith.workers.trainer.data_order import DataOrder
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec


class StockPeft:
    """One job on a model that it wraps; `unload` gives the model back.

    Args:
        model: a transformers causal language model.
        spec: hyperparameters; no warm-up, linear decay.
        initial: weights to start from by PEFT's names, such as `read_tensors` gives; None for
            PEFT's own.
    """

    def __init__(
        self, model: Any, spec: SlotSpec, initial: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self.spec = spec
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=spec.rank,
            lora_alpha=int(spec.alpha),
            target_modules="all-linear",
        )
        self.model: Any = get_peft_model(model, config)
        self.model.train()
        self.named: dict[str, torch.nn.Parameter] = {
            name.replace(".default", ""): parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }
        if initial is not None:
            if self.named.keys() != initial.keys():
                raise ValueError("the initial weights are those of another base")
            with torch.no_grad():
                for name, parameter in self.named.items():
                    parameter.copy_(initial[name])
        self._optimizer = torch.optim.AdamW(
            self.named.values(), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )

    def backward(self, rows: Sequence[Row]) -> None:
        """Add the gradient of the batch's mean loss per learned token."""
        width = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        attention = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for place, row in enumerate(rows):
            tokens = torch.tensor(list(row.input_ids))
            learned = torch.tensor(list(row.loss_mask), dtype=torch.bool)
            ids[place, : len(row)] = tokens
            attention[place, : len(row)] = 1
            labels[place, : len(row)] = torch.where(learned, tokens, -100)
        device = self.model.device
        self.model(
            input_ids=ids.to(device), attention_mask=attention.to(device), labels=labels.to(device)
        ).loss.backward()

    def train(self, rows: Sequence[Row], steps: int, *, first: int = 0) -> int:
        """Take steps `first` to `first + steps` of the slot's own order; returns their tokens."""
        spec = self.spec
        order = DataOrder(len(rows), spec.batch_size, spec.n_epochs, spec.seed)
        tokens = 0
        for step in range(first, first + steps):
            batch = [rows[index] for index in order.batch(step)]
            tokens += sum(len(row) for row in batch)
            self.backward(batch)
            torch.nn.utils.clip_grad_norm_(self.named.values(), spec.max_grad_norm)
            for group in self._optimizer.param_groups:
                group["lr"] = spec.learning_rate * (order.total_steps - step) / order.total_steps
            self._optimizer.step()
            self._optimizer.zero_grad()
        return tokens

    def unload(self) -> Any:
        """The model without the adapter."""
        return self.model.unload()
