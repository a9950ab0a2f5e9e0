"""The gate: what a tuned model must have shown before an alias moves to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.claims import COMPLETED, ENDED
from tunesmith.platform.database.models import Evaluation
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.evaluations.reading import get_evaluation
from tunesmith.platform.evaluations.sides import Side
from tunesmith.platform.policy import Policy, policy_of

BETTER = "better"


@dataclass(frozen=True)
class Judgement:
    """What the gate says of a model; it holds where no condition failed."""

    evaluation_id: str | None = None
    failed: tuple[str, ...] = ()

    def refusal(self, model: str) -> InvalidRequest:
        """The error that says every condition that failed, and how to pass all the same."""
        judged_by = f" (evaluation {self.evaluation_id})" if self.evaluation_id else ""
        return InvalidRequest(
            f"`{model}` does not pass the promotion gate{judged_by}: {'; '.join(self.failed)}. To"
            " point the alias at it all the same, send `force: true` with a `reason`, which the"
            " alias's history keeps.",
            param="model",
            code="promotion_gate",
        )


def judge(session: Session, tenant_id: str, side: Side, evaluation_id: str | None) -> Judgement:
    """Whether the gate holds for a model, by the evaluation named or the latest completed one.

    The figures are held to the tenant's policy of now, whatever bar the evaluation was asked with.
    A base passes: it is what tuned models are measured against.

    Raises:
        NotFound: the tenant has no such evaluation.
        InvalidRequest: the evaluation is of another candidate.
    """
    if evaluation_id is not None:
        evaluation = _named(session, tenant_id, side, evaluation_id)
    elif side.digest is None:
        return Judgement()
    else:
        found = _latest(session, tenant_id, side)
        if found is None:
            return Judgement(None, (_unmeasured(session, tenant_id, side),))
        evaluation = found
    if evaluation.status != COMPLETED:
        return Judgement(evaluation.id, (f"the evaluation is {evaluation.status}, not completed",))
    if evaluation.candidate_digest != side.digest:
        return Judgement(evaluation.id, ("the evaluation measured other weights of the same name",))
    failed = _failed(evaluation.result or {}, policy_of(session, tenant_id))
    return Judgement(evaluation.id, tuple(failed))


def _named(session: Session, tenant_id: str, side: Side, evaluation_id: str) -> Evaluation:
    try:
        evaluation = get_evaluation(session, tenant_id, evaluation_id)
    except NotFound as error:
        raise NotFound(error.message, param="evaluation", code=error.code) from None
    if evaluation.candidate_model != side.name:
        raise InvalidRequest(
            f"The evaluation {evaluation.id} is of `{evaluation.candidate_model}`, not of"
            f" `{side.name}`.",
            param="evaluation",
        )
    return evaluation


def _latest(session: Session, tenant_id: str, side: Side) -> Evaluation | None:
    return session.scalars(
        select(Evaluation)
        .where(
            Evaluation.tenant_id == tenant_id,
            Evaluation.candidate_model == side.name,
            Evaluation.candidate_digest == side.digest,
            Evaluation.status == COMPLETED,
        )
        .order_by(Evaluation.seq.desc())
        .limit(1)
    ).one_or_none()


def _unmeasured(session: Session, tenant_id: str, side: Side) -> str:
    newest = session.scalars(
        select(Evaluation)
        .where(Evaluation.tenant_id == tenant_id, Evaluation.candidate_model == side.name)
        .order_by(Evaluation.seq.desc())
        .limit(1)
    ).one_or_none()
    if newest is None:
        return "no evaluation of it exists (POST /v1/evaluations makes one)"
    said = f"it has no completed evaluation: its newest, {newest.id}, is {newest.status}"
    return said if newest.status in ENDED else f"{said}, so wait for its end"


def _failed(result: Mapping[str, Any], policy: Policy) -> list[str]:
    failed = []
    verdict = result.get("verdict")
    if verdict != BETTER:
        failed.append(f"the verdict is {verdict!r}, not {BETTER!r}" if verdict else "no verdict")
    least = policy.minimum_relative_improvement
    gain = result.get("relative_improvement")
    if gain is None:
        # Better than a baseline that gets nothing right: more than any relative improvement.
        if verdict != BETTER:
            failed.append(
                f"no relative improvement was measured; your policy asks for {_percent(least)}"
            )
    elif not gain >= least:
        failed.append(
            f"the relative improvement is {_percent(gain)}; your policy asks for {_percent(least)}"
        )
    drop = (result.get("forgetting") or {}).get("drop")
    limit = policy.maximum_forgetting
    if drop is None:
        failed.append("forgetting was not measured (evaluate it again with `probes: true`)")
    elif not drop <= limit:
        failed.append(
            f"it lost {_percent(drop)} of the general probes; your policy allows {_percent(limit)}"
        )
    return failed


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
