"""Data reports, evaluations, aliases and usage.

Revision ID: 0005
Revises: 0004

Jobs of before have no evaluation: theirs can be asked for at any time.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("deleted_at IS NULL")


def _json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def _worked() -> list[sa.Column[object]]:
    return [
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("started_at", sa.Float(precision=53), nullable=True),
        sa.Column("finished_at", sa.Float(precision=53), nullable=True),
        sa.Column("error", _json(), nullable=True),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_expires_at", sa.Float(precision=53), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
    ]


def upgrade() -> None:
    # Not in a batch: SQLite would make the table anew and lose the guard's trigger.
    op.add_column("tenants", sa.Column("policy", _json(), nullable=True))
    op.add_column("jobs", sa.Column("evaluation", _json(), nullable=True))
    op.add_column("jobs", sa.Column("ignore_data_report", sa.Boolean(), nullable=True))
    op.add_column("jobs", sa.Column("held_out_key", sa.Text(), nullable=True))
    op.create_table(
        "data_reports",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("file_id", sa.String(length=64), nullable=False),
        sa.Column("report_key", sa.Text(), nullable=True),
        *_worked(),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("file_id"),
    )
    op.create_index("data_reports_by_status", "data_reports", ["status", "seq"])
    op.create_table(
        "evaluations",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=128), nullable=True),
        sa.Column("user_metadata", _json(), nullable=True),
        sa.Column("base_name", sa.String(length=128), nullable=False),
        sa.Column("baseline_model", sa.String(length=512), nullable=False),
        sa.Column("baseline_digest", sa.String(length=64), nullable=True),
        sa.Column("candidate_model", sa.String(length=512), nullable=False),
        sa.Column("candidate_digest", sa.String(length=64), nullable=True),
        sa.Column("request", _json(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("result", _json(), nullable=True),
        sa.Column("items_key", sa.Text(), nullable=True),
        *_worked(),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.ForeignKeyConstraint(["base_name"], ["bases.name"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    for name, columns in (
        ("status", ["status", "seq"]),
        ("tenant", ["tenant_id", "seq"]),
        ("job", ["job_id", "seq"]),
        ("candidate", ["tenant_id", "candidate_model", "seq"]),
    ):
        op.create_index(f"evaluations_by_{name}", "evaluations", columns)
    op.create_table(
        "aliases",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("deleted_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(
        "aliases_by_name",
        "aliases",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_table(
        "alias_revisions",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("alias_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=512), nullable=False),
        sa.Column("candidate", sa.String(length=512), nullable=True),
        sa.Column("candidate_share", sa.Float(precision=53), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("evaluation_id", sa.String(length=64), nullable=True),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["alias_id"], ["aliases.id"]),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(
        "alias_revisions_by_number", "alias_revisions", ["alias_id", "number"], unique=True
    )
    op.create_table(
        "usage",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=512), nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "key_id", "model", "alias", "day"),
    )


def downgrade() -> None:
    raise NotImplementedError("Evaluations and aliases would be lost: restore a backup instead.")
