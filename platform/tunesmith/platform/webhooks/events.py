"""The events that webhooks tell of, named and shaped as OpenAI's.

https://platform.openai.com/docs/api-reference/webhook-events
"""

from __future__ import annotations

from typing import Any

from tunesmith.platform.domain.job import JobStatus

JOB_ENDS = {
    JobStatus.SUCCEEDED: "fine_tuning.job.succeeded",
    JobStatus.FAILED: "fine_tuning.job.failed",
    JobStatus.CANCELLED: "fine_tuning.job.cancelled",
}

# What is incomplete has answers but no verdict: whoever waits for one must look.
EVALUATION_ENDS = {
    "completed": "eval.run.succeeded",
    "incomplete": "eval.run.failed",
    "failed": "eval.run.failed",
    "canceled": "eval.run.canceled",
}

BATCH_ENDS = {
    "completed": "batch.completed",
    "failed": "batch.failed",
    "cancelled": "batch.cancelled",
    "expired": "batch.expired",
}

EVENT_TYPES = tuple(
    dict.fromkeys((*JOB_ENDS.values(), *EVALUATION_ENDS.values(), *BATCH_ENDS.values()))
)
"""All events that an endpoint can ask for."""


def event(event_id: str, event_type: str, object_id: str, created_at: float) -> dict[str, Any]:
    """An event as it is sent: it names the object, and a client that wants more gets that."""
    return {
        "id": event_id,
        "object": "event",
        "created_at": int(created_at),
        "type": event_type,
        "data": {"id": object_id},
    }
