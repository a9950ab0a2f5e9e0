"""Models can be found by the job that made them.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("models_by_job", "models", ["job_id"])


def downgrade() -> None:
    op.drop_index("models_by_job", "models")
