"""Webhooks' endpoints, in OpenAI's shapes; deliveries and `status` are additions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from tunesmith.platform.database.models import WebhookDelivery, WebhookEndpoint
from tunesmith.platform.webhooks import signing
from tunesmith.platform.webhooks.events import EVENT_TYPES

_Name = Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
_Url = Annotated[
    str, Field(min_length=1, max_length=2048, description="An https URL of the public internet.")
]
_Status = Literal["enabled", "disabled"]


def _known(value: str) -> str:
    if value not in EVENT_TYPES:
        raise ValueError(f"{value[:80]!r} is none of {', '.join(EVENT_TYPES)}")
    return value


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CreateEndpoint(_Request):
    """Where to send which events."""

    name: _Name
    url: _Url
    event_types: Annotated[list[str], Field(min_length=1, max_length=50)]

    @field_validator("event_types")
    @classmethod
    def _check(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(_known(event) for event in value))


class UpdateEndpoint(_Request):
    """What is to change; `status` disables an endpoint, or enables one that answered 410."""

    name: _Name | None = None
    url: _Url | None = None
    event_types: Annotated[list[str], Field(min_length=1, max_length=50)] | None = None
    status: _Status | None = None

    @field_validator("event_types")
    @classmethod
    def _check(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else list(dict.fromkeys(_known(event) for event in value))


class RotateSecret(_Request):
    """Whether the secret of before signs for another 24 hours beside the new one."""

    keep_old_secret_active_for_24_hours: bool = False


class SendTest(_Request):
    """Which event to send as a sample; the first that the endpoint asks for where not given."""

    event_type: str | None = None

    @field_validator("event_type")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        return None if value is None else _known(value)


class Endpoint(BaseModel):
    """Where a tenant is told of which events."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    status: _Status

    @classmethod
    def of(cls, row: WebhookEndpoint) -> Endpoint:
        """A row as the API shows it."""
        return cls(**_fields(row))


class EndpointWithSecret(Endpoint):
    """A new endpoint, or one with a new secret, which is shown this once."""

    signing_secret: str

    @classmethod
    def of(cls, row: WebhookEndpoint) -> EndpointWithSecret:
        """A row as the API shows it."""
        return cls(**_fields(row), signing_secret=row.secret)


def _fields(row: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": row.id,
        "created_at": int(row.created_at),
        "updated_at": int(row.updated_at),
        "name": row.name,
        "url": row.url,
        "event_types": row.events,
        "signing_secret_hint": signing.hint(row.secret),
        "status": "enabled" if row.disabled_at is None else "disabled",
    }


class EndpointDeleted(BaseModel):
    """An endpoint that was deleted."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class TestResult(BaseModel):
    """What an endpoint answered to a sample."""

    __test__ = False  # for pytest: no test, in spite of its name

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class EventTypes(BaseModel):
    """All events that an endpoint can ask for."""

    object: Literal["list"] = "list"
    data: list[str]


class Delivery(BaseModel):
    """An event on its way to an endpoint; `next_attempt_at` is null once it has ended."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    created_at: int
    event_id: str
    event_type: str
    object_id: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: int | None
    delivered_at: int | None
    last_status_code: int | None
    last_error: str | None

    @classmethod
    def of(cls, row: WebhookDelivery) -> Delivery:
        """A row as the API shows it."""
        return cls(
            id=row.id,
            created_at=int(row.created_at),
            event_id=row.event_id,
            event_type=row.event_type,
            object_id=row.payload["data"]["id"],
            status=row.status,  # type: ignore[arg-type]
            attempts=row.attempts,
            next_attempt_at=int(row.next_at) if row.status == "pending" else None,
            delivered_at=None if row.delivered_at is None else int(row.delivered_at),
            last_status_code=row.last_status,
            last_error=row.last_error,
        )
