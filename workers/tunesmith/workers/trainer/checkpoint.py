"""A slot's complete state at an optimizer step, to and from bytes; no pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch

from .errors import StateCorrupt
from .render import Item
from .report import StepReport, Validation

FORMAT = 2

_METADATA_KEY = "slot"


@dataclass(frozen=True)
class SlotState:
    """Everything a slot needs to go on as if it had never stopped.

    Data order, learning rate and dropout are pure functions of seed and step, so the step is the
    data cursor, the schedule and the generators' state at once.

    Attributes:
        spec: the decisive fields of the slot's spec.
        data: fingerprint of the training rows.
        validation_data: fingerprint of the validation rows; None without any.
        step: optimizer steps done.
        trained_tokens: tokens since the start.
        pending: the report of the latest step while its validation isn't complete.
        selection: the best validation so far, and how many were worse since.
        environment: torch version, device, dtype and threads; where they differ, the rest of the
            run is still right but not bit-equal.
        tensors: "weight/<name>", and after the first step "exp_avg/<name>" and
            "exp_avg_sq/<name>" (AdamW's moments), float32; "best/<name>" once there was a
            validation; "references" [items, 2] with DPO.
    """

    spec: Mapping[str, Any]
    data: str
    validation_data: str | None
    step: int
    trained_tokens: int
    pending: StepReport | None
    selection: Mapping[str, Any]
    environment: Mapping[str, str | int]
    tensors: Mapping[str, torch.Tensor]

    def to_bytes(self) -> bytes:
        """One safetensors file whose metadata holds the rest, and a checksum over everything."""
        tensors = {
            name: tensor.detach().to("cpu").contiguous() for name, tensor in self.tensors.items()
        }
        header = {
            "format": FORMAT,
            "spec": dict(self.spec),
            "data": self.data,
            "validation_data": self.validation_data,
            "step": self.step,
            "trained_tokens": self.trained_tokens,
            "pending": None if self.pending is None else dataclasses.asdict(self.pending),
            "selection": dict(self.selection),
            "environment": dict(self.environment),
        }
        header["checksum"] = _checksum(header, tensors)
        return bytes(
            safetensors.torch.save(
                tensors, metadata={_METADATA_KEY: json.dumps(header, sort_keys=True)}
            )
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> SlotState:
        """Read back what `to_bytes` wrote.

        Raises:
            StateCorrupt: cut short, altered, or of an unknown format.
        """
        try:
            tensors = safetensors.torch.load(content)
            length = int.from_bytes(content[:8], "little")
            header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_METADATA_KEY])
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise StateCorrupt(f"no slot state: {error}") from error
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise StateCorrupt(f"not a slot state of format {FORMAT}")
        if header.pop("checksum", None) != _checksum(header, tensors):
            raise StateCorrupt("the slot state's checksum doesn't match its content")
        return cls(
            spec=header["spec"],
            data=header["data"],
            validation_data=header["validation_data"],
            step=header["step"],
            trained_tokens=header["trained_tokens"],
            pending=_report(header["pending"]),
            selection=header["selection"],
            environment=header["environment"],
            tensors=tensors,
        )


def fingerprint(items: Sequence[Item]) -> str:
    """sha256 over the rows' token ids and masks, in order, lower-case hex."""
    hasher = hashlib.sha256()
    for row in (row for item in items for row in item.rows):
        hasher.update(len(row).to_bytes(8, "big"))
        hasher.update(array("i", row.input_ids).tobytes())
        hasher.update(row.loss_mask)
    return hasher.hexdigest()


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    hasher = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        hasher.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        hasher.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def _report(values: dict[str, Any] | None) -> StepReport | None:
    if values is None:
        return None
    validation = values.pop("validation")
    return StepReport(**values, validation=None if validation is None else Validation(**validation))
