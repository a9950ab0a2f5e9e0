"""Looking after one engine: is it well, and what does it serve."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from .connection import EngineSession, words

_LOOK = aiohttp.ClientTimeout(total=3.0, sock_connect=1.0)
PATIENCE = 3
"""Looks without an answer in a row after which an engine counts as down. One that refuses the
connection is down at once; one that is slow to answer may be busy."""


@dataclass(frozen=True)
class Served:
    """What an engine serves: its base's names, and how many tokens it takes at most."""

    bases: frozenset[str]
    max_model_len: int | None


class NotWell(Exception):
    """The engine does not serve; the message says why."""


class NoAnswer(Exception):
    """The engine took the connection and did not answer in time."""


async def look(session: EngineSession, url: str) -> None:
    """Return when the engine at `url` is well.

    Raises:
        NotWell: it refuses connections, or says that it is not.
        NoAnswer: it says nothing in time.
    """
    try:
        async with session.get(url, "/health", timeout=_LOOK) as response:
            if response.status != HTTPStatus.OK:
                raise NotWell(f"It says that it is not well ({response.status}).")
    except TimeoutError as error:
        raise NoAnswer("It does not answer.") from error
    except aiohttp.ClientError as error:
        raise NotWell(f"It cannot be reached: {words(error)}.") from error


async def ask_what_is_served(session: EngineSession, url: str) -> Served:
    """What the engine at `url` serves; raises as `look` does."""
    try:
        async with session.get(url, "/v1/models", timeout=_LOOK) as response:
            if response.status != HTTPStatus.OK:
                raise NotWell(f"It does not list its models ({response.status}).")
            cards = (await response.json())["data"]
            bases = [card for card in cards if card.get("parent") is None]
            return Served(
                bases=frozenset(card["id"] for card in bases),
                max_model_len=bases[0].get("max_model_len") if bases else None,
            )
    except TimeoutError as error:
        raise NoAnswer("It does not answer.") from error
    except aiohttp.ClientError as error:
        raise NotWell(f"It cannot be reached: {words(error)}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotWell(f"It lists its models in a form that is not vLLM's: {error!r}.") from error
