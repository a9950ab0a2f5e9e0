"""Whether what a job would train could be trained and served: known before it is queued."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases, models
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.domain.hyperparameters import AUTO

STATE_BYTES = 16
"""Bytes that training keeps of a LoRA parameter: weight, gradient and two moments in float32."""

_MB = 1e6


@dataclass(frozen=True)
class Parent:
    """The adapter that a job continues from; alpha and targets are None where nobody knows."""

    name: str
    digest: str
    rank: int
    alpha: float | None
    target_modules: frozenset[str] | None


def resolve_model(
    session: Session, tenant_id: str, name: str
) -> tuple[bases.BaseModel, Parent | None]:
    """The base, and the adapter to continue from when `name` is a tuned model.

    Raises:
        NotFound: there is no such model for this tenant.
        InvalidRequest: it was tuned on another version of its base.
    """
    base = bases.find_base(session, name)
    if base is not None:
        return base, None
    try:
        tuned, adapter = models.keep_model(session, tenant_id, name)
    except NotFound:
        available = ", ".join(sorted(b.name for b in bases.list_bases(session))) or "none yet"
        raise NotFound(
            f"The model `{name}` does not exist or you do not have access to it. Bases that can be"
            f" tuned here: {available}; or name one of your `ft:` models to continue from it.",
            param="model",
            code="model_not_found",
        ) from None
    base = bases.find_base(session, tuned.base_name)
    if base is None or base.digest != adapter.base_digest:
        raise InvalidRequest(
            f"The model `{name}` was tuned on another version of `{tuned.base_name}` than the one"
            " that is served now; it cannot be continued.",
            param="model",
            code="base_changed",
        )
    recipe = session.scalar(select(Job.recipe).where(Job.id == tuned.job_id)) or {}
    alpha, targets = recipe.get("alpha"), recipe.get("target_modules")
    return base, Parent(
        name=name,
        digest=adapter.digest,
        rank=adapter.rank,
        alpha=None if alpha is None else float(alpha),
        # An empty list stands for all of the base's linear layers.
        target_modules=frozenset(targets or _linears(base)) or None,
    )


def check_servable(
    base: bases.BaseModel, parent: Parent | None, hyperparameters: Mapping[str, Any], where: str
) -> None:
    """Check the LoRA that is asked for against engines, base, parent and the trainer's memory.

    Args:
        hyperparameters: of the job, "auto" where open.
        where: their path in the request, for the message.

    Raises:
        InvalidRequest: it could not be trained or served; the message has both figures.
    """
    _check_rank(base, parent, hyperparameters["lora_rank"], where)
    targets = hyperparameters["target_modules"]
    if targets != AUTO:
        _check_targets(base, targets, where)
    if parent is not None:
        _check_same(parent, hyperparameters, where)
    _check_memory(base, parent, hyperparameters, where)


def _check_rank(base: bases.BaseModel, parent: Parent | None, rank: int | str, where: str) -> None:
    if parent is not None and parent.rank > base.max_rank:
        raise InvalidRequest(
            f"The model `{parent.name}` has a LoRA of rank {parent.rank}; the engines serve at most"
            f" {base.max_rank} now.",
            param="model",
            code="rank_too_high",
        )
    if isinstance(rank, int) and rank > base.max_rank:
        raise InvalidRequest(
            f"`{where}.lora_rank` is {rank}; the engines of `{base.name}` serve at most rank"
            f" {base.max_rank}.",
            param=f"{where}.lora_rank",
            code="rank_too_high",
        )


def _check_targets(base: bases.BaseModel, targets: list[str], where: str) -> None:
    linears = _linears(base)
    unknown = [name for name in targets if name not in linears]
    if linears and unknown:
        raise InvalidRequest(
            f"`{where}.target_modules`: `{base.name}` has no linear layer {', '.join(unknown)}; it"
            f" has {', '.join(sorted(linears))}.",
            param=f"{where}.target_modules",
            code="invalid_hyperparameter",
        )


def _check_same(parent: Parent, hyperparameters: Mapping[str, Any], where: str) -> None:
    """Training goes on with the parent's matrices: their shape and scale are given."""
    targets = hyperparameters["target_modules"]
    for name, given, known, shown in (
        ("lora_rank", hyperparameters["lora_rank"], parent.rank, parent.rank),
        ("lora_alpha", hyperparameters["lora_alpha"], parent.alpha, parent.alpha),
        (
            "target_modules",
            AUTO if targets == AUTO else frozenset(targets),
            parent.target_modules,
            ", ".join(sorted(parent.target_modules or ())),
        ),
    ):
        if known is not None and given not in {AUTO, known}:
            raise InvalidRequest(
                f"`{where}.{name}` must be that of `{parent.name}`, from which the job continues:"
                f' {shown}. Leave it out, or give "auto".',
                param=f"{where}.{name}",
                code="differs_from_parent",
            )


def _check_memory(
    base: bases.BaseModel, parent: Parent | None, hyperparameters: Mapping[str, Any], where: str
) -> None:
    linears, room = _linears(base), base.config.get("trainer", {}).get("slot_bytes")
    if not linears or room is None:
        return
    targets: Collection[str] = linears
    if parent is not None and parent.target_modules:
        targets = parent.target_modules
    if hyperparameters["target_modules"] != AUTO:
        targets = hyperparameters["target_modules"]
    per_rank = STATE_BYTES * sum(linears.get(name, 0) for name in targets)
    rank = hyperparameters["lora_rank"]
    if rank == AUTO:  # the recipe may choose any, so the least must fit
        rank = 1 if parent is None else parent.rank
    if rank * per_rank <= room:
        return
    largest = min(int(room // per_rank), base.max_rank)
    raise InvalidRequest(
        f"A LoRA of rank {rank} on {len(targets)} kinds of layers of `{base.name}` needs"
        f" {rank * per_rank / _MB:,.1f} MB for its training; the trainer has {room / _MB:,.1f} MB"
        " beside the base. "
        + (
            f"The largest rank that fits is {largest}."
            if largest
            else f"No rank fits; name fewer layers in `{where}.target_modules`."
        ),
        param=f"{where}.lora_rank" if hyperparameters["lora_rank"] != AUTO else "model",
        code="does_not_fit",
    )


def _linears(base: bases.BaseModel) -> dict[str, int]:
    """Suffix of each linear layer -> fan-in and fan-out over all layers; empty when unknown."""
    linears: dict[str, int] = base.config.get("linears") or {}
    return linears
