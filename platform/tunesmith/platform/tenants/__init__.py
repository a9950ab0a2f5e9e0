"""Tenants and their API keys, and the administrator's key."""

from .admin_key import ensure_admin_key
from .authentication import authenticate, caller_of, has_expired, incorrect_key
from .caller import ADMIN, INFERENCE, SCOPES, TRAINING, Caller
from .keys import (
    MAX_OVERLAP,
    KeyTerms,
    change_key,
    create_key,
    get_key,
    list_keys,
    revoke_key,
    rotate_key,
)
from .tenants import (
    MAX_NAME,
    create_tenant,
    find_tenant,
    get_tenant,
    limit_tenant,
    list_tenants,
    reinstate_tenant,
    rename_tenant,
    suspend_tenant,
)

__all__ = [
    "ADMIN",
    "INFERENCE",
    "MAX_NAME",
    "MAX_OVERLAP",
    "SCOPES",
    "TRAINING",
    "Caller",
    "KeyTerms",
    "authenticate",
    "caller_of",
    "change_key",
    "create_key",
    "create_tenant",
    "ensure_admin_key",
    "find_tenant",
    "get_key",
    "get_tenant",
    "has_expired",
    "incorrect_key",
    "limit_tenant",
    "list_keys",
    "list_tenants",
    "reinstate_tenant",
    "rename_tenant",
    "revoke_key",
    "rotate_key",
    "suspend_tenant",
]
