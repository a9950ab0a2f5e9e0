"""The statuses of a batch, in OpenAI's words, and the way between them."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Batch

VALIDATING, IN_PROGRESS, FINALIZING = "validating", "in_progress", "finalizing"
CANCELLING = "cancelling"
COMPLETED, FAILED, EXPIRED, CANCELLED = "completed", "failed", "expired", "cancelled"

ENDED = frozenset({COMPLETED, FAILED, EXPIRED, CANCELLED})

NEXT: dict[str, frozenset[str]] = {
    VALIDATING: frozenset({IN_PROGRESS, CANCELLING, FAILED, EXPIRED}),
    IN_PROGRESS: frozenset({FINALIZING, CANCELLING, FAILED, EXPIRED}),
    FINALIZING: frozenset({COMPLETED}),
    CANCELLING: frozenset({CANCELLED}),
}
"""What may follow a status; nothing follows one that has ended."""


def enter(session: Session, batch: Batch, status: str) -> None:
    """Put a batch into a status that may follow its own, and write down when."""
    if status not in NEXT.get(batch.status, ()):
        raise ValueError(f"A batch that is {batch.status} cannot become {status}.")
    batch.status = status
    batch.times = {**batch.times, f"{status}_at": now(session)}
    session.flush()
