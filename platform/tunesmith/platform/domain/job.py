"""A job's states, and which move to which."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class JobStatus(StrEnum):
    """OpenAI's statuses, and `paused` (its API pauses jobs; its Python enum lacks the word)."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_S = JobStatus

TRANSITIONS: MappingProxyType[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        _S.VALIDATING_FILES: frozenset({_S.QUEUED, _S.PAUSED, _S.FAILED, _S.CANCELLED}),
        _S.QUEUED: frozenset({_S.RUNNING, _S.PAUSED, _S.FAILED, _S.CANCELLED}),
        # Back to `queued` when its worker was lost.
        _S.RUNNING: frozenset({_S.QUEUED, _S.PAUSED, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
        # Back to `validating_files` when it was paused before its files were read.
        _S.PAUSED: frozenset({_S.QUEUED, _S.VALIDATING_FILES, _S.FAILED, _S.CANCELLED}),
        _S.SUCCEEDED: frozenset(),
        _S.FAILED: frozenset(),
        _S.CANCELLED: frozenset(),
    }
)

FINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
"""Statuses that nothing leaves."""

UNFINISHED = frozenset(TRANSITIONS) - FINAL
"""Statuses of jobs that have not ended. Asked for by name, they are found by an index."""

CLAIMABLE = frozenset({_S.VALIDATING_FILES, _S.QUEUED})
"""Statuses in which a dispatcher takes a job up."""


class EventLevel(StrEnum):
    """Level of a job's event."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class EventType(StrEnum):
    """Type of a job's event: a sentence, or a step's figures."""

    MESSAGE = "message"
    METRICS = "metrics"
