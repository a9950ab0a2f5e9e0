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

__all__ = ["BaseModel", "find_base", "list_bases", "register_base"]


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
        config: what else is worth knowing (architecture, hidden size).

    Raises:
        InvalidRequest: the name could be mistaken for a tuned model's.
    """
    lock_name(session, f"base {check_base_name(name)}")  # several processes may start at once
    base = find_base(session, name)
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
