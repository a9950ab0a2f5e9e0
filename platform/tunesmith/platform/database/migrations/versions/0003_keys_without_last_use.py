"""Keys do not say when they were used last: nothing ever wrote it.

Revision ID: 0003
Revises: 0002

A gateway of before reads the column with every key: stop it first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("api_keys", "last_used_at")


def downgrade() -> None:
    op.add_column("api_keys", sa.Column("last_used_at", sa.Float(precision=53), nullable=True))
