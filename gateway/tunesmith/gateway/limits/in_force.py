"""Which limits hold for a caller: the tenant's own or the platform's, and the key's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tunesmith.platform.settings import Settings


class Rates(NamedTuple):
    """Limits of one tenant or key; None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    @classmethod
    def of_settings(cls, settings: Settings) -> Rates:
        """The limits of every tenant that has none of its own."""
        return cls(
            settings.requests_per_minute,
            settings.tokens_per_minute,
            settings.concurrent_requests,
        )

    @classmethod
    def of_row(cls, limits: Mapping[str, Any] | None, otherwise: Rates) -> Rates:
        """The limits of a tenant's or key's row, by name; `otherwise`'s where it has none."""
        if not limits:
            return otherwise
        own = (limits.get(name) for name in cls._fields)
        return cls(*(b if a is None else int(a) for a, b in zip(own, otherwise, strict=True)))


NO_LIMITS = Rates()


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """Limits of the tenant and of the key that a request came with; both hold."""

    tenant_id: str
    key_id: str
    tenant: Rates
    key: Rates

    @classmethod
    def in_force(
        cls,
        tenant_id: str,
        key_id: str,
        defaults: Rates,
        tenant: Mapping[str, Any] | None,
        key: Mapping[str, Any] | None,
    ) -> CallerLimits | None:
        """A caller's limits, by the `limits` of its rows; None where nothing is limited."""
        found = cls(
            tenant_id,
            key_id,
            Rates.of_row(tenant, defaults),
            Rates.of_row(key, NO_LIMITS),
        )
        return None if found.tenant == found.key == NO_LIMITS else found
