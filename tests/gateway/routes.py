"""Every route, and the scope of a tenant's key that it needs; None: any scope will do.

`x` stands for an id. A route that is not here fails `test_tenancy.py`.
"""

from __future__ import annotations

TENANT_ROUTES: dict[tuple[str, str], str | None] = {
    ("GET", "/v1/files"): "training",
    ("POST", "/v1/files"): "training",
    ("GET", "/v1/files/x"): "training",
    ("GET", "/v1/files/x/content"): "training",
    ("DELETE", "/v1/files/x"): "training",
    ("GET", "/v1/files/x/report"): "training",
    ("POST", "/v1/uploads"): "training",
    ("POST", "/v1/uploads/x/parts"): "training",
    ("POST", "/v1/uploads/x/complete"): "training",
    ("POST", "/v1/uploads/x/cancel"): "training",
    ("GET", "/v1/fine_tuning/jobs"): "training",
    ("POST", "/v1/fine_tuning/jobs"): "training",
    ("GET", "/v1/fine_tuning/jobs/x"): "training",
    ("POST", "/v1/fine_tuning/jobs/x/cancel"): "training",
    ("POST", "/v1/fine_tuning/jobs/x/pause"): "training",
    ("POST", "/v1/fine_tuning/jobs/x/resume"): "training",
    ("GET", "/v1/fine_tuning/jobs/x/events"): "training",
    ("GET", "/v1/fine_tuning/jobs/x/checkpoints"): "training",
    ("GET", "/v1/fine_tuning/jobs/x/evaluation"): "training",
    ("POST", "/v1/fine_tuning/checkpoints/x/permissions"): "admin",
    ("GET", "/v1/fine_tuning/checkpoints/x/permissions"): "admin",
    ("DELETE", "/v1/fine_tuning/checkpoints/x/permissions/x"): "admin",
    ("POST", "/v1/evaluations"): "training",
    ("GET", "/v1/evaluations"): "training",
    ("GET", "/v1/evaluations/x"): "training",
    ("POST", "/v1/evaluations/x/cancel"): "training",
    ("GET", "/v1/evaluations/x/output_items"): "training",
    ("GET", "/v1/evaluations/x/report"): "training",
    ("POST", "/v1/aliases"): "training",
    ("GET", "/v1/aliases"): None,
    ("GET", "/v1/aliases/x"): None,
    ("DELETE", "/v1/aliases/x"): "training",
    ("POST", "/v1/aliases/x/promote"): "training",
    ("POST", "/v1/aliases/x/split"): "training",
    ("DELETE", "/v1/aliases/x/split"): "training",
    ("POST", "/v1/aliases/x/rollback"): "training",
    ("GET", "/v1/aliases/x/history"): None,
    ("GET", "/v1/policy"): None,
    ("POST", "/v1/policy"): "admin",
    ("POST", "/v1/advice"): None,
    ("GET", "/v1/usage"): None,
    ("GET", "/v1/savings"): None,
    ("GET", "/v1/models"): None,
    ("GET", "/v1/models/x"): None,
    ("DELETE", "/v1/models/x"): "training",
    ("POST", "/v1/chat/completions"): "inference",
    ("POST", "/v1/completions"): "inference",
    ("GET", "/v1/webhook_event_types"): "admin",
    ("POST", "/v1/webhook_endpoints"): "admin",
    ("GET", "/v1/webhook_endpoints"): "admin",
    ("GET", "/v1/webhook_endpoints/x"): "admin",
    ("POST", "/v1/webhook_endpoints/x"): "admin",
    ("DELETE", "/v1/webhook_endpoints/x"): "admin",
    ("POST", "/v1/webhook_endpoints/x/rotate_secret"): "admin",
    ("POST", "/v1/webhook_endpoints/x/test"): "admin",
    ("GET", "/v1/webhook_endpoints/x/deliveries"): "admin",
    ("POST", "/v1/organization/api_keys"): "admin",
    ("GET", "/v1/organization/api_keys"): "admin",
    ("GET", "/v1/organization/api_keys/x"): "admin",
    ("PATCH", "/v1/organization/api_keys/x"): "admin",
    ("DELETE", "/v1/organization/api_keys/x"): "admin",
    ("POST", "/v1/organization/api_keys/x/rotate"): "admin",
}
SHARED_ROUTES: dict[tuple[str, str], str | None] = {("GET", "/v1/organization/audit_logs"): "admin"}
"""For the platform's administrator as well."""

ADMIN_ROUTES = [
    ("GET", "/v1/tenants"),
    ("POST", "/v1/tenants"),
    ("GET", "/v1/tenants/x"),
    ("PATCH", "/v1/tenants/x"),
    ("GET", "/v1/tenants/x/keys"),
    ("POST", "/v1/tenants/x/keys"),
    ("GET", "/v1/tenants/x/keys/x"),
    ("PATCH", "/v1/tenants/x/keys/x"),
    ("DELETE", "/v1/tenants/x/keys/x"),
    ("POST", "/v1/tenants/x/keys/x/rotate"),
]
OPEN_ROUTES = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")]

ALL_ROUTES = [*TENANT_ROUTES, *SHARED_ROUTES, *ADMIN_ROUTES, *OPEN_ROUTES]
