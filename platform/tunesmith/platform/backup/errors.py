"""Why a backup cannot be made or given back."""

from __future__ import annotations

from tunesmith.platform.domain.errors import TunesmithError


class BackupFailed(TunesmithError):
    """A backup could not be made, or is not whole."""

    default_code = "backup_failed"


class RestoreRefused(TunesmithError):
    """Restoring would overwrite something, or this version cannot read the backup."""

    default_code = "restore_refused"
