"""Alembic's entry: migrations run on the connection that `migrate` gives."""

from typing import Any

from alembic import context

from tunesmith.platform.database.models import Base
from tunesmith.platform.database.schema import COMPATIBILITY


def keep_oldest_revision(ctx: Any, step: Any) -> None:
    """Write down, as a migration's last act, which code may use the schema that it made.

    The first migrations have no such word, and no table for it.
    """
    (script,) = step.destination_revisions
    oldest = getattr(script.module, "oldest_revision", None)
    if oldest is not None:
        ctx.connection.execute(COMPATIBILITY.delete())
        ctx.connection.execute(
            COMPATIBILITY.insert().values(revision=script.revision, oldest_revision=oldest)
        )


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    on_version_apply=lambda **applied: keep_oldest_revision(applied["ctx"], applied["step"]),
)
with context.begin_transaction():
    context.run_migrations()
