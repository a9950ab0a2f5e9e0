"""Where a command finds the platform, and with which key it speaks.

URL: `--url`, TUNESMITH_URL, OPENAI_BASE_URL, the platform that runs on the home, and
http://127.0.0.1:8000. Home: `--home`, TUNESMITH_HOME, ~/.tunesmith if a platform runs on it, the
only platform that this user runs. Keys: flags, variables, and for the administrator the home's
credentials.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

from tunesmith.platform.supervisor.home import Home, read_json
from tunesmith.platform.supervisor.running import running_homes

from .errors import CommandFailed, one_sentence

if TYPE_CHECKING:
    from openai import OpenAI

DEFAULT_URL = "http://127.0.0.1:8000"
_PANEL = "Where and who"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The platform's URL; else TUNESMITH_URL, OPENAI_BASE_URL, or the one running here.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        help="The tenant's key; else TUNESMITH_API_KEY or OPENAI_API_KEY.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
AdminKey = Annotated[
    str | None,
    typer.Option(
        "--admin-key",
        help="The administrator's key; else TUNESMITH_ADMIN_KEY, or the one kept in the home.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
HomeFolder = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Home of the platform that runs here; else TUNESMITH_HOME, or the only one.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def home_of(folder: Path | None) -> Home:
    """The home that is meant; without a word, the only platform that this user runs."""
    named = folder or os.environ.get("TUNESMITH_HOME")
    home = Home(Path(named or "~/.tunesmith").expanduser().absolute())
    if named is None and not home.platform_file.exists():
        running = running_homes()
        if len(running) == 1:
            return running[0]
    return home


def find_url(url: str | None, home: Home) -> str:
    """The platform's URL, without a trailing slash or `/v1`."""
    found = (
        url
        or os.environ.get("TUNESMITH_URL")
        or os.environ.get("OPENAI_BASE_URL")
        or read_json(home.platform_file).get("url")
        or DEFAULT_URL
    )
    if not found.startswith(("http://", "https://")):
        raise CommandFailed(f"{found!r} is not a URL: it must start with http:// or https://.")
    return str(found).rstrip("/").removesuffix("/v1")


class Tenant:
    """A tenant's connection: the official client, pointed at the platform."""

    def __init__(self, url: str | None, api_key: str | None, home: Path | None) -> None:
        self.url = find_url(url, home_of(home))
        key = api_key or os.environ.get("TUNESMITH_API_KEY") or os.environ.get("OPENAI_API_KEY")
        if not key:
            raise CommandFailed(
                "No API key: give one with --api-key or TUNESMITH_API_KEY. `tunesmith tenants"
                " create NAME` makes a tenant and prints its first key."
            )
        self.key = key

    def client(self) -> OpenAI:
        """The client. Its retries hide a gateway that restarts."""
        from openai import OpenAI

        return OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=2)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to `/v1{path}`, for routes that the official client lacks; its answer.

        Raises:
            CommandFailed: no platform answers there, or it refuses.
        """
        return _call(self.url, self.key, method, path, body)


class Admin:
    """The administrator's connection: routes that OpenAI's API does not have."""

    def __init__(self, url: str | None, admin_key: str | None, home: Path | None) -> None:
        folder = home_of(home)
        self.url = find_url(url, folder)
        key = admin_key or os.environ.get("TUNESMITH_ADMIN_KEY") or folder.admin_key
        if not key:
            raise CommandFailed(
                "No administrator's key: give it with --admin-key or TUNESMITH_ADMIN_KEY. The"
                f" first `tunesmith up` printed it once, and keeps it in {folder.credentials_file}."
            )
        self._key = key

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to `/v1{path}`; its answer.

        Raises:
            CommandFailed: no platform answers there, or it refuses.
        """
        return _call(self.url, self._key, method, path, body)


def _call(
    url: str, key: str, method: str, path: str, body: dict[str, Any] | None
) -> dict[str, Any]:
    with one_sentence(url):
        answer = httpx.request(
            method,
            f"{url}/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30.0,
        )
        answer.raise_for_status()
        try:
            content = answer.json()
        except ValueError as error:
            raise CommandFailed(f"{url} is not a Tunesmith: it sent no JSON.") from error
    if not isinstance(content, dict):
        raise CommandFailed(f"{url} is not a Tunesmith: it sent no JSON object.")
    return content
