"""One of several processes leads; jobs carry the trace of the request that made them; the schema
says which code may use it.

Revision ID: 0007
Revises: 0006

Code of 0006 works with this schema: the table is new to it and the column may be absent.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
oldest_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "leaders",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.add_column("jobs", sa.Column("traceparent", sa.String(64)))
    op.create_table(
        "schema_compatibility",  # one row: of the newest migration
        sa.Column("revision", sa.String(32), primary_key=True),
        sa.Column("oldest_revision", sa.String(32), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("schema_compatibility")
    op.drop_column("jobs", "traceparent")
    op.drop_table("leaders")
