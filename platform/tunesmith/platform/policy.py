"""A tenant's own bar: how much better a model must be, and how much it may have forgotten."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Tenant


@dataclass(frozen=True)
class Policy:
    """What a model is held to.

    Attributes:
        minimum_relative_improvement: over what it was tuned from: 0.2 asks for 20 % more.
        maximum_forgetting: largest fall of its share of right answers to the general probes.
    """

    minimum_relative_improvement: float = 0.2
    maximum_forgetting: float = 0.2

    def as_json(self) -> dict[str, float]:
        """Both as JSON."""
        return asdict(self)


def policy_of(session: Session, tenant_id: str) -> Policy:
    """A tenant's policy, or the defaults."""
    kept = session.scalar(select(Tenant.policy).where(Tenant.id == tenant_id))
    return Policy(**(kept or {}))


def keep_policy(session: Session, tenant_id: str, policy: Policy) -> None:
    """Make `policy` the tenant's own."""
    tenant = session.scalars(select(Tenant).where(Tenant.id == tenant_id)).one()
    tenant.policy = policy.as_json()
    session.flush()
