"""Bases: the models that trainers hold and engines serve."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import BaseModel
from tunesmith.platform.domain.names import check_base_name

__all__ = ["BaseModel", "find_base", "list_bases", "record_trainer", "register_base"]


def find_base(session: Session, name: str) -> BaseModel | None:
    """The base of this name, if there is one."""
    return session.scalars(select(BaseModel).where(BaseModel.name == name)).one_or_none()


def list_bases(session: Session) -> Sequence[BaseModel]:
    """All bases, oldest first."""
    return session.scalars(select(BaseModel).order_by(BaseModel.seq)).all()


def register_base(
    session: Session,
    *,
    name: str,
    source: str,
    digest: str,
    context_length: int,
    max_rank: int,
    config: dict[str, Any],
) -> BaseModel:
    """Write a base down, or what has changed of it.

    Args:
        source: the directory that holds it.
        digest: of its files: adapters belong to one digest.
        context_length: tokens of prompt and answer together that the engines take.
        max_rank: highest LoRA rank that the engines serve.
        config: what else is worth knowing (architecture, hidden size, linear layers). What
            `record_trainer` wrote of the same digest stays.

    Raises:
        InvalidRequest: the name could be mistaken for a tuned model's.
    """
    _lock(session, check_base_name(name))  # several processes may start at once
    base = find_base(session, name)
    if base is not None and base.digest == digest and "trainer" in base.config:
        config = {"trainer": base.config["trainer"]} | config
    if base is None:
        base = BaseModel(name=name, created_at=time.time())
        session.add(base)
    base.source = source
    base.digest = digest
    base.context_length = context_length
    base.max_rank = max_rank
    base.config = config
    session.flush()
    return base


def record_trainer(session: Session, name: str, digest: str, figures: dict[str, Any]) -> None:
    """Write down what a trainer measured of a base, for checks at job creation.

    Ignored where the base is not there or has another digest by now.

    Args:
        figures: `slot_bytes` for slots beside the base on the trainer's device, `token_bytes` of
            activations per token, and `device`.
    """
    _lock(session, name)
    base = find_base(session, name)
    if base is not None and base.digest == digest and base.config.get("trainer") != figures:
        base.config = base.config | {"trainer": figures}
        session.flush()


def _lock(session: Session, name: str) -> None:
    lock_name(session, f"base {name}")
