"""Evaluations that have ended, as an evaluator leaves them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from tunesmith.platform import claims
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Evaluation, Model
from tunesmith.platform.domain.ids import evaluation_id


def result(
    verdict: str | None = "better",
    gain: float | None = 0.5,
    drop: float | None = 0.0,
    **more: Any,
) -> dict[str, Any]:
    """A result as the evaluator writes it."""
    return {
        "verdict": verdict,
        "relative_improvement": gain,
        "bar": {"minimum_relative_improvement": 0.2, "met": gain is None or gain >= 0.2},
        "forgetting": None if drop is None else {"drop": drop, "limit": 0.2},
        "summary": "It was measured.",
    } | more


def measure(
    database: Database,
    tenant_id: str,
    model: str,
    found: dict[str, Any] | None = None,
    *,
    status: str = claims.COMPLETED,
) -> str:
    """Id of an evaluation of `model` against its base that has come to `found`."""
    with database.transaction() as session:
        row = session.scalars(select(Model).where(Model.name == model)).one()
        evaluation = Evaluation(
            id=evaluation_id(),
            tenant_id=tenant_id,
            base_name=row.base_name,
            baseline_model=row.base_name,
            candidate_model=model,
            candidate_digest=row.adapter_digest,
            request={},
            status=status,
            created_at=1.0,
            result=result() if found is None else found,
        )
        session.add(evaluation)
        return evaluation.id
