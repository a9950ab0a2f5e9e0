"""Which schema a database has, and whether this code may use it.

Schemas are numbered in one line, and each says which revision's code, and all newer, may use it:
its migration's `oldest_revision`, kept in the table `schema_compatibility`. So the release before
works on while the next one's migration runs, and after a rollback.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, column, inspect, select, table

_VERSION = table("alembic_version", column("version_num"))
COMPATIBILITY = table("schema_compatibility", column("revision"), column("oldest_revision"))


class Fit(StrEnum):
    """How a database's schema stands to this code."""

    CURRENT = "current"
    BEHIND = "behind"
    """It is to be migrated first."""
    NEWER = "newer"
    """It is a later release's, which says that this code may use it."""
    TOO_NEW = "too new"


@dataclass(frozen=True)
class Schema:
    """What a database says of its schema; None: it has none yet, or does not say."""

    revision: str | None
    oldest_revision: str | None

    @property
    def fit(self) -> Fit:
        """How it stands to this code."""
        known = known_revisions()
        if self.revision == known[-1]:
            return Fit.CURRENT
        if self.revision is None or self.revision in known:
            return Fit.BEHIND
        # What this code knows is the beginning of the line: the oldest is in it, or is later.
        return Fit.NEWER if self.oldest_revision in known else Fit.TOO_NEW

    @property
    def usable(self) -> bool:
        """Whether this code may work with it as it is."""
        return self.fit in {Fit.CURRENT, Fit.NEWER}

    def __str__(self) -> str:
        """Both revisions, for people."""
        if self.revision is None:
            return f"it has no schema; this code needs {known_revisions()[-1]}"
        return f"its schema is {self.revision}; this code's is {known_revisions()[-1]}"


def read_schema(connection: Connection) -> Schema:
    """What the database says of its schema."""
    tables = inspect(connection).get_table_names()
    if _VERSION.name not in tables:
        return Schema(None, None)
    revision = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    oldest = None
    if COMPATIBILITY.name in tables:
        oldest = connection.execute(select(COMPATIBILITY.c.oldest_revision)).scalar_one_or_none()
    return Schema(revision, oldest)


def alembic_config() -> Config:
    """Alembic's settings: where the migrations are."""
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions that this code has migrations for, oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return tuple(reversed([script.revision for script in scripts.walk_revisions()]))
