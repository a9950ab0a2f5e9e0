"""Why a platform cannot run on this machine, in sentences that say what to do."""

from __future__ import annotations

from pathlib import Path

from tunesmith.platform.domain.errors import TunesmithError


class CannotStart(TunesmithError):
    """The platform cannot start as it is set up; the message says why and what to do."""

    default_code = "cannot_start"


class PartFailed(CannotStart):
    """A process that the others need has failed for good."""

    def __init__(self, message: str, *, log: Path) -> None:
        super().__init__(message)
        self.log = log
