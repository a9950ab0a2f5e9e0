"""What a check finds: how bad it is, which rows, an example, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

ROWS_KEPT = 1000
"""Rows that a finding names; `count` says how many there are."""


class Severity(StrEnum):
    """How bad a finding is: training makes no sense, may disappoint, or is only worth knowing."""

    BLOCKS = "blocks"
    WARNS = "warns"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Attributes:
        check: the check's name, such as "exact_duplicates".
        message: one sentence with the figures.
        advice: one sentence that says what to do.
        count: rows concerned; 0 where the whole file is meant.
        share: of all rows, 0 to 1.
        rows: lines of the user's file, ascending, at most `ROWS_KEPT`.
        example: a short piece of the data that shows it, or None. Untrusted text.
        details: further figures as JSON values.
    """

    check: str
    severity: Severity
    message: str
    advice: str
    count: int = 0
    share: float = 0.0
    rows: tuple[int, ...] = ()
    example: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_rows(
        cls,
        check: str,
        severity: Severity,
        lines: Sequence[int],
        total: int,
        *,
        message: str,
        advice: str,
        example: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> Finding:
        """A finding about `lines` of `total` rows."""
        return cls(
            check=check,
            severity=severity,
            message=message,
            advice=advice,
            count=len(lines),
            share=len(lines) / total if total else 0.0,
            rows=tuple(sorted(lines)[:ROWS_KEPT]),
            example=None if example is None else example[:300],
            details=details or {},
        )

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON types."""
        return {**asdict(self), "severity": str(self.severity), "rows": list(self.rows)}
