"""Who acts in a request, as a parameter of a route that changes something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from tunesmith.gateway.auth import identify
from tunesmith.platform.audit import record


@dataclass(frozen=True)
class Acting:
    """A key, or the subject of a bearer token, and the request that it acts in."""

    key_id: str
    tenant_id: str | None
    request_id: str | None

    def note(
        self,
        session: Session,
        action: str,
        target: str,
        *,
        tenant_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Write an act down in its transaction; `tenant_id` is whose thing it is, else its own."""
        record(
            session,
            actor=self.key_id,
            tenant_id=tenant_id or self.tenant_id,
            action=action,
            target=target,
            detail=detail,
            request_id=self.request_id,
        )


async def _acting(request: Request) -> Acting:
    caller = await identify(request)
    return Acting(caller.key_id, caller.tenant_id, request.state.request_id)


Actor = Annotated[Acting, Depends(_acting)]
"""Who sent the request, for the audit log."""
