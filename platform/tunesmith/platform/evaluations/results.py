"""What an evaluator found out, written under its claim."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from tunesmith.platform import claims
from tunesmith.platform.claims import Claim
from tunesmith.platform.database.models import Evaluation
from tunesmith.platform.domain.job import EventLevel
from tunesmith.platform.jobs.moves import add_event
from tunesmith.platform.storage import Storage


def items_key(tenant_id: str, evaluation_id: str) -> str:
    """Where the answers to each example lie."""
    return f"tenants/{tenant_id}/evaluations/{evaluation_id}/items.jsonl"


def report_key(tenant_id: str, evaluation_id: str) -> str:
    """Where the page of an evaluation lies."""
    return f"tenants/{tenant_id}/evaluations/{evaluation_id}/report.html"


def record_progress(session: Session, claim: Claim, done: int, total: int) -> None:
    """How many answers are there; nothing happens if the claim is lost."""
    session.execute(
        update(Evaluation)
        .where(Evaluation.seq == claim.seq, Evaluation.lease_token == claim.token)
        .values(done=done, total=total)
    )


def store_items(storage: Storage, evaluation: Evaluation, items: Sequence[dict[str, Any]]) -> str:
    """Store the answers; their key."""
    key = items_key(evaluation.tenant_id, evaluation.id)
    lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    storage.put(key, "".join(lines).encode())
    return key


def complete(
    session: Session,
    claim: Claim,
    *,
    result: dict[str, Any],
    items: str | None,
    error: dict[str, str] | None,
) -> Evaluation:
    """End an evaluation: `completed`, or `incomplete` with what is missing in `error`.

    Its job, if it has one, gets an event with the verdict.

    Raises:
        LeaseLost: it was canceled, or is somebody else's by now.
    """
    row = claims.held(session, Evaluation, claim)
    row.result = result
    row.items_key = items
    claims.end(session, row, claims.INCOMPLETE if error else claims.COMPLETED, error)
    if row.job_id is not None:
        verdict = result.get("verdict")
        text = f"Evaluation {row.id}: {result.get('summary') or (error or {}).get('message')}"
        add_event(
            session,
            row.job_id,
            text,
            level=EventLevel.WARN if error or verdict == "worse" else EventLevel.INFO,
            data={"evaluation": row.id, "verdict": verdict, "status": row.status},
        )
    return row


def fail(session: Session, claim: Claim, code: str, message: str) -> None:
    """End an evaluation that could not be done; its job gets an event that says why.

    Raises:
        LeaseLost: it was canceled, or is somebody else's by now.
    """
    row = claims.held(session, Evaluation, claim)
    claims.end(session, row, claims.FAILED, {"code": code, "message": message})
    if row.job_id is not None:
        add_event(
            session,
            row.job_id,
            f"Evaluation {row.id} failed: {message}",
            level=EventLevel.WARN,
            data={"evaluation": row.id, "status": row.status},
        )
