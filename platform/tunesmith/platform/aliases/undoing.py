"""What a rollback goes back to."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.platform.database.models import AliasRevision

ROLLBACK = "rollback"


def models_behind(revisions: Sequence[AliasRevision]) -> list[str]:
    """The models that an alias came by, oldest first and the current one last.

    What was rolled back is left out, so that repeated rollbacks go further back and never return
    to what they left. Splits are no part of it: going back never sends requests to a candidate.

    Args:
        revisions: all of one alias, oldest first.
    """
    behind: list[str] = []
    for revision in revisions:
        if revision.action == ROLLBACK:
            while behind[-1] != revision.model:
                behind.pop()
        elif not behind or behind[-1] != revision.model:
            behind.append(revision.model)
    return behind
