"""Files know the kind of their examples, and jobs where else their metrics go.

Revision ID: 0002
Revises: 0001

Files and jobs of before have neither: their examples are chats.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in a batch: SQLite would make the table anew and lose the guard's trigger.
    op.add_column("files", sa.Column("kind", sa.String(length=16), nullable=True))
    op.add_column(
        "jobs",
        sa.Column(
            "integrations",
            sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"),
            nullable=True,
        ),
    )


def downgrade() -> None:
    raise NotImplementedError("Preferences would be taken for chats: restore a backup instead.")
