"""Keys, tokens and passwords, by the forms that issuers gave them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

_FORMS = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|.*)"
    r"|(?<![\w-])(?:"
    r"sk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic and who copied them
    r"|(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}"
    r"|gl(?:pat|dt|ft|soat|rt)-[A-Za-z0-9_-]{16,}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}"  # Slack
    r"|[srp]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9]{20,}"  # Stripe
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"  # Google
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{50,}|dop_v1_[a-f0-9]{64}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"  # SendGrid
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{8,}"  # JWT
    r")",
    re.DOTALL,
)
_FORM_HINTS = (
    *("sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "xapp-"),
    *("AKIA", "ASIA", "ABIA", "ACCA", "AGPA", "AIDA", "AROA", "ANPA", "k_live_", "k_test_"),
    *("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "whsec_", "AIza", "ya29", "hf_", "npm_"),
    *("pypi-", "dop_v1_", "SG.", "eyJ"),
)
"""One of these is in each of the forms; looking for them first is much faster."""

_NAMED = re.compile(
    r"(?:api[ _-]?key|access[ _-]?key|secret(?:[ _-]?key)?"
    r"|(?:auth|access|bearer|refresh)?[ _-]?token"
    r"|bearer|password|passwort|passwd|pwd|kennwort|mot de passe|contraseña|senha)"
    r"[\"']?(?:\s*[:=]+\s*|\s+(?:is|ist|lautet|est|es)[: ]\s*|\s+)[\"'`]?"
    r"(?P<value>[^\s\"'`,;<>()]{8,})",
    re.IGNORECASE,
)
_NAMES = ("key", "secret", "token", "bearer", "pass", "pwd", "kennwort", "contraseña", "senha")

_IN_URL = re.compile(r"\w+://[^\s/:@]+:(?P<value>[^\s/:@]{3,})@")

_LONG = 15
"""Characters without a space from which a token may have one of the forms."""

_LONG_FOR_PLUGINS = 20

_PLUGINS = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
"""detect-secrets' plugins for tokens of a known form. Those that judge by entropy are left out:
they take every long identifier for a secret."""


@cache
def _plugins() -> tuple[Any, ...]:
    return tuple(
        getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        for module, name in _PLUGINS.items()
    )


def find_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Where keys, tokens and passwords stand in a text; the same may be named twice."""
    tokens = text.split()
    long = max(map(len, tokens), default=0)
    if (long >= _LONG and any(hint in text for hint in _FORM_HINTS)) or "-----BEGIN" in text:
        for match in _FORMS.finditer(text):
            yield match.span()
    lowered = text.lower()
    if any(name in lowered for name in _NAMES):
        for match in _NAMED.finditer(text):
            value = match["value"].rstrip(".!?:…")
            if _looks_random(value):
                yield match.start("value"), match.start("value") + len(value)
    if "://" in text:
        for match in _IN_URL.finditer(text):
            yield match.span("value")
    if long < _LONG_FOR_PLUGINS:
        return
    position = 0
    for token in tokens:
        if len(token) >= _LONG_FOR_PLUGINS:
            position = text.index(token, position)
            if any(map(str.isdigit, token)):
                yield from _known_to_plugins(token, position)
            position += len(token)


def _known_to_plugins(token: str, offset: int) -> Iterator[tuple[int, int]]:
    for plugin in _plugins():
        for secret in plugin.analyze_string(token):
            start = token.find(secret)
            if secret and start >= 0:
                yield offset + start, offset + start + len(secret)


def _looks_random(value: str) -> bool:
    """Whether what stands after "password" or "token" is one: no word, no number, no example.

    It takes a digit and a letter, and besides a sign, both cases, or 16 characters.
    """
    if not any(map(str.isdigit, value)) or not any(map(str.isalpha, value)):
        return False
    if value.startswith(("http://", "https://", "[", "{", "$")) or value[:1] == "%":
        return False
    mixed = value != value.lower() and value != value.upper()
    return mixed or len(value) >= 16 or any(c in "!@#$%^&*_+?~" for c in value)
