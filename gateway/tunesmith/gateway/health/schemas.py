"""Health and readiness, as they are told."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Part(BaseModel):
    """A part of the platform, and what keeps it from being ready."""

    ready: bool
    reason: str | None = None


class EngineState(BaseModel):
    """An engine as the gateway sees it."""

    url: str
    status: str
    reason: str | None
    bases: list[str]
    in_flight: int


class Readiness(BaseModel):
    """Every part that was asked for; `ready` when all of them are."""

    ready: bool
    parts: dict[str, Part]
    engines: list[EngineState]
