"""The limits that a tenant or a key may have of its own: what the columns `limits` keep."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_Limit = Annotated[int | None, Field(default=None, ge=1, le=2**53)]
"""At least 1; the largest whole number that every JSON reader keeps exactly is the most."""


class KeyLimits(BaseModel):
    """Limits of one key; none in a place: only the tenant's limit counts there."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    requests_per_minute: _Limit
    tokens_per_minute: _Limit
    concurrent_requests: _Limit

    def as_kept(self) -> dict[str, Any] | None:
        """What the column keeps: only the limits that are set, none where none is."""
        return self.model_dump(exclude_none=True) or None


class Limits(KeyLimits):
    """Limits of a tenant; none in a place: the setting of that name counts there."""

    queued_jobs: _Limit
    running_jobs: _Limit
    stored_bytes: _Limit
    adapters: _Limit
