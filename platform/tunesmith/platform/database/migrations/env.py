"""Alembic's entry: migrations run on the connection that `migrate` gives."""

from alembic import context

from tunesmith.platform.database.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
