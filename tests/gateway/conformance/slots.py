"""Every place of every route where an id of the tenant's own goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.gateway.gateways import BASE

ID = "{id}"
Body = dict[str, Any]


@dataclass(frozen=True)
class Slot:
    """A request with `{id}` in one place, and `{kind}` for ids of the asker's own in others.

    Attributes:
        kinds: of ids that belong there.
        status: of the answer to an id that never existed.
        form: the name of the file's field where the body is a form.
        by_admin: asked with the administrator's key.
    """

    method: str
    path: str
    kinds: tuple[str, ...]
    body: Body | None = None
    status: int = 404
    form: str | None = None
    by_admin: bool = False

    def __str__(self) -> str:
        where = "" if self.body is None or ID in self.path else f" in {_place(self.body)}"
        return f"{self.method} {self.path}{where}"


def _place(body: Body) -> str:
    return next(name for name, value in body.items() if ID in str(value))


JOBS = "/v1/fine_tuning/jobs"
PERMISSIONS = "/v1/fine_tuning/checkpoints/{model}/permissions"
FOREIGN_PERMISSIONS = "/v1/fine_tuning/checkpoints/{id}/permissions"
HOOKS = "/v1/webhook_endpoints"
KEYS = "/v1/organization/api_keys"
TENANT_KEYS = "/v1/tenants/{tenant}/keys"
MODELS = ("model", "checkpoint_model", "digest")
CHAT: Body = {"model": BASE, "messages": [{"role": "user", "content": "hi"}]}
JOB: Body = {"model": BASE, "training_file": "{file}"}
BATCH: Body = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}

IN_PATHS = [
    Slot("GET", "/v1/files/{id}", ("file", "batch_file")),
    Slot("GET", "/v1/files/{id}/content", ("file", "batch_file")),
    Slot("DELETE", "/v1/files/{id}", ("file", "batch_file")),
    Slot("GET", "/v1/files/{id}/report", ("file",)),
    Slot("POST", "/v1/uploads/{id}/parts", ("upload",), form="data"),
    Slot("POST", "/v1/uploads/{id}/complete", ("upload",), {"part_ids": ["{part}"]}),
    Slot("POST", "/v1/uploads/{id}/cancel", ("upload",)),
    Slot("GET", JOBS + "/{id}", ("job",)),
    Slot("POST", JOBS + "/{id}/cancel", ("job",)),
    Slot("POST", JOBS + "/{id}/pause", ("job",)),
    Slot("POST", JOBS + "/{id}/resume", ("job",)),
    Slot("GET", JOBS + "/{id}/events", ("job",)),
    Slot("GET", JOBS + "/{id}/checkpoints", ("job",)),
    Slot("GET", JOBS + "/{id}/evaluation", ("job",)),
    Slot("POST", FOREIGN_PERMISSIONS, MODELS, {"project_ids": ["{tenant}"]}),
    Slot("GET", FOREIGN_PERMISSIONS, MODELS),
    Slot("DELETE", FOREIGN_PERMISSIONS + "/{permission}", MODELS),
    Slot("DELETE", PERMISSIONS + "/{id}", ("permission",)),
    Slot("GET", "/v1/evaluations/{id}", ("evaluation",)),
    Slot("POST", "/v1/evaluations/{id}/cancel", ("evaluation",)),
    Slot("GET", "/v1/evaluations/{id}/output_items", ("evaluation",)),
    Slot("GET", "/v1/evaluations/{id}/report", ("evaluation",)),
    Slot("GET", "/v1/aliases/{id}", ("alias",)),
    Slot("DELETE", "/v1/aliases/{id}", ("alias",)),
    Slot("POST", "/v1/aliases/{id}/promote", ("alias",), {"model": BASE}),
    Slot("POST", "/v1/aliases/{id}/split", ("alias",), {"candidate": "{model}", "share": 0.5}),
    Slot("DELETE", "/v1/aliases/{id}/split", ("alias",)),
    Slot("POST", "/v1/aliases/{id}/rollback", ("alias",), {}),
    Slot("GET", "/v1/aliases/{id}/history", ("alias",)),
    Slot("GET", "/v1/models/{id}", (*MODELS, "alias")),
    Slot("DELETE", "/v1/models/{id}", MODELS),
    Slot("GET", "/v1/batches/{id}", ("batch",)),
    Slot("POST", "/v1/batches/{id}/cancel", ("batch",)),
    Slot("GET", HOOKS + "/{id}", ("webhook_endpoint",)),
    Slot("POST", HOOKS + "/{id}", ("webhook_endpoint",), {"name": "taken"}),
    Slot("DELETE", HOOKS + "/{id}", ("webhook_endpoint",)),
    Slot("POST", HOOKS + "/{id}/rotate_secret", ("webhook_endpoint",), {}),
    Slot("POST", HOOKS + "/{id}/test", ("webhook_endpoint",), {}),
    Slot("GET", HOOKS + "/{id}/deliveries", ("webhook_endpoint",)),
    Slot("GET", KEYS + "/{id}", ("key",)),
    Slot("PATCH", KEYS + "/{id}", ("key",), {"name": "taken"}),
    Slot("DELETE", KEYS + "/{id}", ("key",)),
    Slot("POST", KEYS + "/{id}/rotate", ("key",), {}),
    Slot("GET", TENANT_KEYS + "/{id}", ("key",), by_admin=True),
    Slot("PATCH", TENANT_KEYS + "/{id}", ("key",), {"name": "taken"}, by_admin=True),
    Slot("DELETE", TENANT_KEYS + "/{id}", ("key",), by_admin=True),
    Slot("POST", TENANT_KEYS + "/{id}/rotate", ("key",), {}, by_admin=True),
]
"""Where the id is in the path."""

IN_QUERIES = [
    Slot("GET", "/v1/files?after={id}", ("file", "batch_file")),
    Slot("GET", JOBS + "?after={id}", ("job",)),
    Slot("GET", JOBS + "/{job}/events?after={id}", ("event",)),
    Slot("GET", JOBS + "/{job}/checkpoints?after={id}", ("checkpoint",)),
    Slot("GET", PERMISSIONS + "?after={id}", ("permission",)),
    Slot("GET", PERMISSIONS + "?project_id={id}", ("tenant",), status=200),
    Slot("GET", "/v1/evaluations?after={id}", ("evaluation",)),
    Slot("GET", "/v1/aliases?after={id}", ("alias_id",)),
    Slot("GET", "/v1/batches?after={id}", ("batch",)),
    Slot("GET", HOOKS + "?after={id}", ("webhook_endpoint",)),
    Slot("GET", HOOKS + "/{webhook_endpoint}/deliveries?after={id}", ("delivery",)),
    Slot("GET", KEYS + "?after={id}", ("key",)),
    Slot("GET", TENANT_KEYS + "?after={id}", ("key",), by_admin=True),
    Slot("GET", "/v1/organization/audit_logs?after={id}", ("audit",)),
    Slot("GET", "/v1/organization/audit_logs?actor_ids[]={id}", ("key",), status=200),
    Slot("GET", "/v1/organization/audit_logs?resource_ids[]={id}", MODELS, status=200),
    Slot("GET", "/v1/organization/audit_logs?tenant={id}", ("tenant",), status=403),
    Slot("GET", "/v1/usage?key_id={id}", ("key",), status=200),
]
"""Where it is in the query; filters answer with nothing found."""

IN_BODIES = [
    Slot("POST", "/v1/uploads/{upload}/complete", ("part",), {"part_ids": ["{id}"]}, status=400),
    Slot("POST", JOBS, (*MODELS, "alias"), JOB | {"model": ID}),
    Slot("POST", JOBS, ("file",), JOB | {"training_file": ID}),
    Slot("POST", JOBS, ("file",), JOB | {"validation_file": ID}),
    Slot("POST", JOBS, ("file",), JOB | {"evaluation": {"file": ID}}),
    Slot("POST", "/v1/evaluations", (*MODELS, "alias"), {"model": ID}),
    Slot("POST", "/v1/evaluations", (*MODELS, "alias"), {"model": "{model}", "baseline": ID}),
    Slot("POST", "/v1/evaluations", ("file",), {"model": "{model}", "file": ID}),
    Slot("POST", "/v1/aliases", (*MODELS, "alias"), {"name": "new", "model": ID}),
    Slot(
        "POST",
        "/v1/aliases",
        ("evaluation",),
        {"name": "new", "model": "{model}", "evaluation": ID},
    ),
    Slot("POST", "/v1/aliases/{alias}/promote", (*MODELS, "alias"), {"model": ID}),
    Slot(
        "POST",
        "/v1/aliases/{alias}/promote",
        ("evaluation",),
        {"model": "{model}", "evaluation": ID},
    ),
    Slot(
        "POST",
        "/v1/aliases/{alias}/split",
        (*MODELS, "alias"),
        {"candidate": ID, "share": 0.5},
    ),
    Slot("POST", "/v1/chat/completions", (*MODELS, "alias"), CHAT | {"model": ID}),
    Slot("POST", "/v1/chat/completions", MODELS, CHAT | {"model": ID, "stream": True}),
    Slot("POST", "/v1/completions", (*MODELS, "alias"), {"model": ID, "prompt": "x"}),
    Slot("POST", "/v1/responses", (*MODELS, "alias"), {"model": ID, "input": "x"}),
    Slot("POST", "/v1/embeddings", (*MODELS, "alias"), {"model": ID, "input": "x"}),
    Slot("POST", "/tokenize", (*MODELS, "alias"), {"model": ID, "prompt": "x"}),
    Slot("POST", "/detokenize", (*MODELS, "alias"), {"model": ID, "tokens": [1]}),
    Slot("POST", "/v1/batches", ("batch_file", "file"), BATCH | {"input_file_id": ID}),
]
"""Where it is in the body."""

SLOTS = [*IN_PATHS, *IN_QUERIES, *IN_BODIES]
