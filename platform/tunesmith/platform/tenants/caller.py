"""Who sends a request, and what its key may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

INFERENCE: Final = "inference"
TRAINING: Final = "training"
ADMIN: Final = "admin"

SCOPES: Final = frozenset({INFERENCE, TRAINING, ADMIN})
"""What a tenant's key may be for: to ask models, to make them, to manage the tenant's own things.

None includes another. Keys of before there were scopes have all.
"""


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a tenant, or the platform's administrator (`tenant_id` is None).

    Attributes:
        key_id: of the key, or `oidc:SUBJECT` of a bearer token.
        tenant_slug: its part in the names of its models.
        key_limits: limits of the key alone, as kept; none: only the tenant's count.
        tenant_limits: limits of the tenant's own, as kept; none: the settings'.
        expires_at: when the key stops, in seconds since the epoch; none: never.
    """

    key_id: str
    tenant_id: str | None
    tenant_name: str | None = None
    tenant_slug: str | None = None
    scopes: frozenset[str] = SCOPES
    key_limits: Mapping[str, Any] | None = None
    tenant_limits: Mapping[str, Any] | None = None
    expires_at: float | None = None

    @property
    def is_admin(self) -> bool:
        """Whether this is the platform's administrator."""
        return self.tenant_id is None
