"""What a backup says of itself. It is written last: a backup without it is none."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

FORMAT: Final = 1


class DatabaseDump(BaseModel):
    """The database's part: `kind` says what reads it (pg_restore, or SQLite itself)."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["postgresql", "sqlite"]
    server: str
    """Version of the server that was dumped."""
    revision: str
    """The schema's revision, of this platform's migrations."""
    rows: dict[str, int]
    """Rows of each table."""
    bytes: int
    sha256: str


class ObjectIndex(BaseModel):
    """Storage's part: how much there is, and the digest of the list that names each object."""

    model_config = ConfigDict(extra="forbid")

    objects: int
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """A backup. Times are seconds since the epoch."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = FORMAT
    id: str
    created_at: float
    tunesmith: str
    database: DatabaseDump
    storage: ObjectIndex
    deleted_meanwhile: list[str]
    """Keys that the dump names and that were deleted before they could be copied."""
    lost: list[str]
    """Keys that the database still names and storage does not hold: damage of the source."""
