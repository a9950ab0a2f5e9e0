"""A database as it is after years: tenants by Zipf, most jobs ended, made by SQL alone."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from tunesmith.platform.database import Database
from tunesmith.platform.database.migrate import migrate

from .growth_database import plain

BASE, DIGEST = "pocket", "0" * 64
DAYS = 90
"""Days of usage; every tuned model in ten was asked for on each third of them."""


@dataclass(frozen=True)
class Size:
    """How much there is; tuned models have one adapter each."""

    tenants: int
    adapters: int
    jobs: int

    @property
    def queued(self) -> int:
        """Jobs that wait for a trainer: one in a hundred."""
        return self.jobs // 100

    @property
    def running(self) -> int:
        """Jobs in training: as many as trainers can hold, whatever else there is."""
        return min(100, self.jobs // 100)


FULL = Size(10_000, 100_000, 1_000_000)


def key_of(tenant: int) -> str:
    """The key of the tenant of this number; 1 is the largest."""
    return f"sk-ts-growth-{tenant}"


def fill(url: str, size: Size) -> None:
    """Migrate an empty database and fill it; statistics are up to date afterwards."""
    database = Database(url)
    migrate(database)
    database.dispose()
    values = {
        "tenants": size.tenants,
        "adapters": size.adapters,
        "jobs": size.jobs,
        "queued": size.queued,
        "running": size.running,
        "files": max(size.tenants, size.jobs // 4),
        "base": BASE,
        "digest": DIGEST,
        "days": DAYS,
    }
    with psycopg.connect(plain(url), autocommit=True) as connection:
        # Rows that are consistent by how they are made need no check of their references.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SELECT setseed(0.5)")
        for statement in _ROWS:
            connection.execute(statement.encode(), values)
        connection.execute("VACUUM ANALYZE")


# exp(u ln N), rounded down, is k with probability proportional to log(1 + 1/k): Zipf(1.0) but for
# the very first. The tenant of a file is drawn so; jobs, models and usage follow their file's.
_ROWS = (
    """INSERT INTO bases (name, source, digest, context_length, max_rank, config, created_at)
    VALUES (%(base)s, '-', %(digest)s, 4096, 64, '{}', 1.7e9)""",
    """INSERT INTO tenants (id, name, slug, created_at, last_claimed_at)
    SELECT 'org-' || lpad(i::text, 24, '0'), 'Tenant ' || i, 'tenant-' || i, 1.7e9 + i,
      1.75e9 + random() * 1e7
    FROM generate_series(1, %(tenants)s) i""",
    """INSERT INTO api_keys (id, tenant_id, name, hash, hint, created_at)
    SELECT 'key_' || lpad(i::text, 16, '0'), 'org-' || lpad(i::text, 24, '0'), 'first',
      encode(sha256(convert_to('sk-ts-growth-' || i, 'UTF8')), 'hex'), 'sk-ts-gro...', 1.7e9
    FROM generate_series(1, %(tenants)s) i""",
    """INSERT INTO files (id, tenant_id, filename, purpose, bytes, sha256, status, storage_key,
      examples_key, examples, created_at)
    SELECT 'file-' || lpad(i::text, 24, '0'),
      'org-' || lpad((CASE WHEN i <= %(tenants)s THEN i
        ELSE least(floor(exp(random() * ln(%(tenants)s + 1.0))), %(tenants)s) END)::text, 24, '0'),
      'train.jsonl', 'fine-tune', 100000, md5(i::text) || md5('f' || i), 'processed',
      'files/' || md5(i::text), 'examples/' || md5(i::text), 100, 1.7e9 + i
    FROM generate_series(1, %(files)s) i""",
    # In the order of time: a file's jobs are years apart, as tenants come back.
    """INSERT INTO jobs (id, tenant_id, created_at, started_at, finished_at, status, model,
      base_name, base_digest, training_file, seed, method, fingerprint, hyperparameters, recipe,
      step, total_steps, trained_tokens, result_file, fine_tuned_model, attempts, resume_step,
      lease_token, lease_owner, lease_expires_at)
    SELECT 'ftjob-' || md5(i::text), f.tenant_id, t.at,
      CASE WHEN ended OR runs THEN t.at + 60 END, CASE WHEN ended THEN t.at + 600 END,
      CASE WHEN runs THEN 'running' WHEN NOT ended THEN 'queued' WHEN i %% 20 < 18 THEN 'succeeded'
        WHEN i %% 20 = 18 THEN 'failed' ELSE 'cancelled' END,
      %(base)s, %(base)s, %(digest)s, f.id, i, '{"type": "supervised"}',
      md5(i::text) || md5('j' || i),
      '{"n_epochs": "auto", "batch_size": "auto", "lora_rank": "auto",
        "learning_rate_multiplier": "auto", "lora_alpha": "auto", "target_modules": "auto",
        "validation_split": "auto", "early_stopping_patience": "auto"}',
      CASE WHEN ended THEN '{"rank": 16, "alpha": 32, "epochs": 3, "batch": 4}'::jsonb END,
      CASE WHEN ended THEN 100 ELSE 0 END, 100, CASE WHEN ended THEN 50000 END,
      CASE WHEN ended AND i %% 20 < 18 THEN 'file-r' || md5(i::text) END,
      CASE WHEN ended AND i %% 20 < 18
        THEN 'ft:pocket:growth::' || left(md5(i::text), 8) || i END,
      0, 0, CASE WHEN runs THEN md5('l' || i) END, CASE WHEN runs THEN 'dispatcher' END,
      CASE WHEN runs THEN 4e9 END
    FROM generate_series(1, %(jobs)s) i
    CROSS JOIN LATERAL (SELECT i <= %(jobs)s - %(queued)s - %(running)s AS ended,
      i > %(jobs)s - %(running)s AS runs,
      extract(epoch FROM now())::float8 - 94608000.0 * (1 - i::float8 / %(jobs)s) AS at) t
    JOIN files f ON f.seq = i %% %(files)s + 1
    ORDER BY i""",
    """UPDATE tenants SET has_queued = true
    WHERE id IN (SELECT tenant_id FROM jobs WHERE status = 'queued')""",
    """INSERT INTO files (id, tenant_id, filename, purpose, bytes, sha256, status, storage_key,
      created_at)
    SELECT result_file, tenant_id, 'metrics.csv', 'fine-tune-results', 5000,
      md5(id) || md5('r' || id), 'processed', 'results/' || id, finished_at
    FROM jobs WHERE result_file IS NOT NULL ORDER BY seq""",
    """INSERT INTO job_events (id, job_id, created_at, level, type, message)
    SELECT 'ftevent-' || md5(seq::text), id, created_at, 'info', 'message',
      'Created fine-tuning job: ' || id
    FROM jobs ORDER BY seq""",
    """INSERT INTO data_reports (file_id, report_key, status, created_at, attempts)
    SELECT id, 'reports/' || id, 'completed', created_at, 1 FROM files
    WHERE purpose = 'fine-tune' ORDER BY seq""",
    # Half of the models that ever were are deleted; their adapters are gone as well.
    """CREATE TEMPORARY TABLE made AS SELECT seq, md5(seq::text) || md5('a' || seq) AS digest,
      row_number() OVER (ORDER BY random()) AS number
    FROM jobs WHERE status = 'succeeded' ORDER BY random() LIMIT 2 * %(adapters)s""",
    """INSERT INTO adapters (digest, base_name, base_digest, rank, bytes, created_at, deleted_at)
    SELECT m.digest, %(base)s, %(digest)s, 16, 2000000, j.finished_at,
      CASE WHEN m.number > %(adapters)s THEN j.finished_at + 86400 END
    FROM made m JOIN jobs j USING (seq) ORDER BY seq""",
    """INSERT INTO models (name, tenant_id, base_name, adapter_digest, job_id, created_at,
      deleted_at)
    SELECT j.fine_tuned_model, j.tenant_id, %(base)s, m.digest, j.id, j.finished_at,
      CASE WHEN m.number > %(adapters)s THEN j.finished_at + 86400 END
    FROM made m JOIN jobs j USING (seq) ORDER BY seq""",
    """INSERT INTO aliases (id, tenant_id, name, created_at)
    SELECT DISTINCT ON (tenant_id) 'alias_' || md5(name), tenant_id, 'production', created_at
    FROM models WHERE deleted_at IS NULL ORDER BY tenant_id, seq DESC""",
    """INSERT INTO alias_revisions (alias_id, number, action, model, candidate_share, forced,
      created_at)
    SELECT a.id, n, 'promote', m.name, 0, false, a.created_at
    FROM aliases a JOIN models m ON 'alias_' || md5(m.name) = a.id, generate_series(1, 3) n""",
    """INSERT INTO permissions (id, tenant_id, model_name, grantee_id, created_at)
    SELECT 'cp_' || md5(name), tenant_id, name,
      'org-' || lpad((1 + seq %% %(tenants)s)::text, 24, '0'), created_at
    FROM models WHERE deleted_at IS NULL AND seq %% 20 = 0""",
    """INSERT INTO usage (tenant_id, key_id, model, alias, day, requests, prompt_tokens,
      completion_tokens, cached_tokens)
    SELECT m.tenant_id, 'key_' || right(m.tenant_id, 16), m.name, '', (current_date - d)::text,
      100, 40000, 8000, 1000
    FROM models m, generate_series(0, %(days)s - 1) d
    WHERE m.deleted_at IS NULL AND m.seq %% 10 = 0 AND (m.seq + d) %% 3 = 0""",
    """INSERT INTO stored_bytes (tenant_id, day, bytes)
    SELECT t.id, (current_date - d)::text, 100000000
    FROM tenants t, generate_series(0, %(days)s - 1) d""",
    "INSERT INTO heartbeats VALUES ('dispatcher', 4e9), ('evaluator', 4e9)",
)
