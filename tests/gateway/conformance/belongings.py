"""One of everything that a tenant can have, by the kind of its id."""

from __future__ import annotations

import json

from tests.gateway.gateways import BASE, Gateway, Tenant

from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.webhooks.outbox import announce

HOOK_PATH = "/hook"
"""Where webhooks go: the fake engine, which answers 404."""


def batch_input(model: str = BASE) -> bytes:
    """A batch's input of one line."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line).encode() + b"\n"


def belongings(gateway: Gateway, tenant: Tenant, to: Tenant) -> dict[str, str]:
    """Make one of everything for `tenant`, whose model is permitted to `to`; ids by kind.

    The gateway must have the setting `webhook_private_addresses`.
    """
    name, digest = gateway.train(tenant, checkpoints=[3])
    job = next(j for j in tenant.client.fine_tuning.jobs.list() if j.fine_tuned_model == name)
    batch_file = tenant.client.files.create(file=("in", batch_input()), purpose="batch").id
    batch = tenant.client.batches.create(
        input_file_id=batch_file, endpoint="/v1/chat/completions", completion_window="24h"
    )
    upload = _made(
        tenant, "/v1/uploads", filename="a", purpose="user_data", bytes=6, mime_type="text/plain"
    )
    alias = f"alias-{random_text(8)}"
    alias_id = _made(tenant, "/v1/aliases", name=alias, model=BASE)
    endpoint = _made(
        tenant,
        "/v1/webhook_endpoints",
        name="mine",
        url=gateway.settings.engines[0] + HOOK_PATH,
        event_types=["batch.failed"],
    )
    with gateway.database.transaction() as session:
        announce(session, tenant.id, "batch.failed", batch.id)
    deliveries = tenant.http.get(f"/v1/webhook_endpoints/{endpoint}/deliveries").json()["data"]
    checkpoint = tenant.client.fine_tuning.jobs.checkpoints.list(job.id).data[0]
    permission = tenant.client.fine_tuning.checkpoints.permissions.create(
        name, project_ids=[to.id]
    ).data[0]
    assert job.training_file
    return {
        "tenant": tenant.id,
        "file": job.training_file,
        "batch_file": batch_file,
        "job": job.id,
        "event": tenant.client.fine_tuning.jobs.list_events(job.id).data[0].id,
        "checkpoint": checkpoint.id,
        "checkpoint_model": checkpoint.fine_tuned_model_checkpoint,
        "model": name,
        "digest": digest,
        "alias": alias,
        "alias_id": alias_id,
        "evaluation": _made(tenant, "/v1/evaluations", model=name, file=tenant.upload()),
        "batch": batch.id,
        "upload": upload,
        "part": tenant.client.uploads.parts.create(upload, data=b"abcdef").id,
        "permission": permission.id,
        "webhook_endpoint": endpoint,
        "delivery": deliveries[0]["id"],
        "key": _made(tenant, "/v1/organization/api_keys", name="spare"),
        "audit": tenant.http.get("/v1/organization/audit_logs").json()["data"][0]["id"],
    }


def _made(tenant: Tenant, path: str, **body: object) -> str:
    answer = tenant.http.post(path, json=body)
    assert answer.status_code == 200, (path, answer.text)
    made: str = answer.json()["id"]
    return made
