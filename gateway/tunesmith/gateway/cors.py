"""Calls from pages in browsers, where an origin is allowed (CORS); off by default."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

# What a browser's script may read of an answer beside its body.
_EXPOSED = (
    "openai-organization",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "x-request-id",
    "x-should-retry",
    "idempotent-replayed",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-tunesmith-alias",
    "x-tunesmith-alias-revision",
    "x-tunesmith-model",
)

PREFLIGHT_SECONDS = 600
"""How long a browser believes what it may send."""


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> CORSMiddleware:
    """`app`, for pages of these origins as well; `*` means any.

    Cookies are never allowed: a key is sent by the page itself, in a header.
    """
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        allow_headers=("*",),
        expose_headers=_EXPOSED,
        max_age=PREFLIGHT_SECONDS,
    )
