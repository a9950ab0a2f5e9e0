"""Scopes, limits, batches, uploads, permissions, webhooks, idempotency and the audit log.

Revision ID: 0006
Revises: 0005

Keys of before have every scope of their tenant and do not expire.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("deleted_at IS NULL")
LEASED = sa.text("lease_expires_at IS NOT NULL")
EXPIRES = sa.text("expires_at IS NOT NULL AND deleted_at IS NULL")
CONTINUED = sa.text("parent_digest IS NOT NULL")

# The status of jobs that wait, and the flag of tenants that have such a job.
FLAGS = {"validating_files": "has_unread", "queued": "has_queued"}
TRIGGERS = {
    "sqlite": [
        f"""
        CREATE TRIGGER jobs_{flag}_{name} AFTER {event} ON jobs WHEN NEW.status = '{status}'
        BEGIN
            UPDATE tenants SET {flag} = 1 WHERE id = NEW.tenant_id;
        END
        """  # noqa: S608 - of the names above
        for status, flag in FLAGS.items()
        for name, event in (("new", "INSERT"), ("again", "UPDATE OF status"))
    ],
    "postgresql": [
        """
        CREATE FUNCTION jobs_wait() RETURNS trigger AS $$
        BEGIN
            IF NEW.status = 'validating_files' THEN
                UPDATE tenants SET has_unread = true WHERE id = NEW.tenant_id;
            ELSE
                UPDATE tenants SET has_queued = true WHERE id = NEW.tenant_id;
            END IF;
            RETURN NULL;
        END
        $$ LANGUAGE plpgsql
        """,
        """
        CREATE TRIGGER jobs_wait AFTER INSERT OR UPDATE OF status ON jobs
        FOR EACH ROW WHEN (NEW.status IN ('validating_files', 'queued'))
        EXECUTE FUNCTION jobs_wait()
        """,
    ],
}


def _json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("limits", _json(), nullable=True))
    op.add_column("tenants", sa.Column("suspended_at", sa.Float(precision=53), nullable=True))
    for status, flag in FLAGS.items():
        op.add_column(
            "tenants", sa.Column(flag, sa.Boolean(), nullable=False, server_default=sa.false())
        )
        op.create_index(
            f"tenants_by_{flag}",
            "tenants",
            ["last_claimed_at", "seq"],
            sqlite_where=sa.text(f"{flag} = 1"),
            postgresql_where=sa.text(flag),
        )
        tenants = sa.table("tenants", sa.column("id"), sa.column(flag, sa.Boolean()))
        jobs = sa.table("jobs", sa.column("tenant_id"), sa.column("status"))
        waiting = sa.select(jobs.c.tenant_id).where(jobs.c.status == status)
        op.execute(tenants.update().where(tenants.c.id.in_(waiting)).values({flag: sa.true()}))
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)
    op.add_column("api_keys", sa.Column("expires_at", sa.Float(precision=53), nullable=True))
    op.add_column("api_keys", sa.Column("scopes", _json(), nullable=True))
    op.add_column("api_keys", sa.Column("limits", _json(), nullable=True))
    op.add_column("api_keys", sa.Column("replaced_by", sa.String(length=64), nullable=True))
    op.add_column(
        "usage",
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    )
    op.create_index("usage_by_day", "usage", ["day"])
    op.drop_index("ix_files_tenant_id", "files")
    op.create_index("files_by_tenant", "files", ["tenant_id", "seq"])
    op.create_index(
        "files_by_size",
        "files",
        ["tenant_id", "expires_at", "bytes"],
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index(
        "models_living",
        "models",
        ["tenant_id", "adapter_digest", "job_id"],
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index(
        "files_by_expiry",
        "files",
        ["expires_at"],
        sqlite_where=EXPIRES,
        postgresql_where=EXPIRES,
    )
    op.create_index("jobs_by_end", "jobs", ["finished_at", "tenant_id"])
    op.create_index(
        "jobs_by_parent",
        "jobs",
        ["parent_digest"],
        sqlite_where=CONTINUED,
        postgresql_where=CONTINUED,
    )
    op.create_table(
        "usage_batches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("written_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("usage_batches_by_time", "usage_batches", ["written_at"])
    op.create_table(
        "stored_bytes",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "day"),
    )
    op.create_index("stored_bytes_by_day", "stored_bytes", ["day"])
    op.create_table(
        "budgets",
        sa.Column("name", sa.String(length=192), nullable=False),
        sa.Column("level", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "audit",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=512), nullable=False),
        sa.Column("detail", _json(), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("audit_by_tenant", "audit", ["tenant_id", "seq"])
    op.create_table(
        "batches",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("completion_window", sa.String(length=16), nullable=False),
        sa.Column("input_file", sa.String(length=64), nullable=False),
        sa.Column("output_file", sa.String(length=64), nullable=True),
        sa.Column("error_file", sa.String(length=64), nullable=True),
        sa.Column("user_metadata", _json(), nullable=True),
        sa.Column("errors", _json(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("times", _json(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.Column("output_expires_after", sa.Integer(), nullable=True),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_expires_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["input_file"], ["files.id"]),
        sa.ForeignKeyConstraint(["output_file"], ["files.id"]),
        sa.ForeignKeyConstraint(["error_file"], ["files.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(
        "batches_by_lease",
        "batches",
        ["lease_expires_at"],
        sqlite_where=LEASED,
        postgresql_where=LEASED,
    )
    op.create_index("batches_by_tenant", "batches", ["tenant_id", "seq"])
    op.create_table(
        "uploads",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("mime_type", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.Column("expires_after", sa.Integer(), nullable=True),
        sa.Column("file_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("uploads_by_expiry", "uploads", ["status", "expires_at"])
    op.create_index("uploads_by_tenant", "uploads", ["tenant_id", "seq"])
    op.create_table(
        "upload_parts",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("upload_id", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("upload_parts_by_upload", "upload_parts", ["upload_id", "seq"])
    op.create_table(
        "permissions",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("model_name", sa.String(length=512), nullable=False),
        sa.Column("grantee_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("deleted_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["grantee_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("permissions_by_grantee", "permissions", ["grantee_id", "seq"])
    op.create_index(
        "permissions_by_model",
        "permissions",
        ["model_name", "grantee_id"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", _json(), nullable=False),
        sa.Column("secret", sa.String(length=128), nullable=False),
        sa.Column("old_secret", sa.String(length=128), nullable=True),
        sa.Column("old_secret_until", sa.Float(precision=53), nullable=True),
        sa.Column("disabled_at", sa.Float(precision=53), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.Column("deleted_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("webhook_endpoints_by_tenant", "webhook_endpoints", ["tenant_id", "seq"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("endpoint_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("event_type", sa.String(length=64), nullable=False),
        sa.Column("payload", _json(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(precision=53), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("delivered_at", sa.Float(precision=53), nullable=True),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_expires_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["endpoint_id"], ["webhook_endpoints.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(
        "webhook_deliveries_by_event",
        "webhook_deliveries",
        ["endpoint_id", "event_id"],
        unique=True,
    )
    op.create_index("webhook_deliveries_by_endpoint", "webhook_deliveries", ["endpoint_id", "seq"])
    op.create_index("webhook_deliveries_by_time", "webhook_deliveries", ["status", "next_at"])
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("route", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", _json(), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "route", "key"),
    )
    op.create_index("idempotency_by_time", "idempotency", ["expires_at"])
