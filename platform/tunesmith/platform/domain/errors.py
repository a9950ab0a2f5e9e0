"""Errors that a person reads: what was wrong, where, and what to do.

Every error carries the HTTP status and the fields of OpenAI's error body, so that one handler in
the gateway renders all of them, and the CLI prints the same sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar


class TunesmithError(Exception):
    """Base of all errors that the platform raises on purpose."""

    status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR
    kind: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.headers: dict[str, str] = {}

    def body(self) -> dict[str, dict[str, str | None]]:
        """OpenAI's error body."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


class InvalidRequest(TunesmithError):
    """The request cannot be done as it was put (400)."""

    status = HTTPStatus.BAD_REQUEST
    kind = "invalid_request_error"


class NotAuthenticated(TunesmithError):
    """No key, or a key that is not (or no longer) valid (401)."""

    status = HTTPStatus.UNAUTHORIZED
    kind = "invalid_request_error"
    default_code = "invalid_api_key"


class NotPermitted(TunesmithError):
    """The key is valid but may not do this (403)."""

    status = HTTPStatus.FORBIDDEN
    kind = "permission_error"
    default_code = "insufficient_permissions"


class NotFound(TunesmithError):
    """It does not exist, or it is another tenant's: the answer is the same (404)."""

    status = HTTPStatus.NOT_FOUND
    kind = "invalid_request_error"
    default_code = "not_found"


class TooLarge(TunesmithError):
    """The body exceeds a limit (413)."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    kind = "invalid_request_error"
    default_code = "file_too_large"


class Unavailable(TunesmithError):
    """Something that the request needs is not there now; it may be soon (503 with Retry-After)."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "service_unavailable"
    default_code = "service_unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after: int = 5,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.retry_after = retry_after


class LeaseLost(TunesmithError):
    """The job was taken over, cancelled or deleted: what this holder reports no longer counts."""

    status = HTTPStatus.CONFLICT
    default_code = "lease_lost"


class LimitReached(TunesmithError):
    """A limit on what a tenant may have is reached (429). Waiting alone is not sure to help."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    kind = "insufficient_quota"
    default_code = "limit_exceeded"


class RateLimited(TunesmithError):
    """A limit a minute, or of requests at once, is reached (429); later it will not be.

    `type` is what was limited, as OpenAI has it: `requests` or `tokens`.

    Args:
        limit: which one it is, by the name of its setting.
        retry_after: seconds; None where waiting is of no use, as the request alone is too large.
        headers: what the answer's `x-ratelimit-*` headers say.
    """

    status = HTTPStatus.TOO_MANY_REQUESTS
    default_code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        limited: str,
        limit: str = "",
        retry_after: int | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.limited = limited
        self.limit = limit
        self.retry_after = retry_after
        self.headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """OpenAI's error body."""
        error = super().body()
        error["error"]["type"] = self.limited
        return error
