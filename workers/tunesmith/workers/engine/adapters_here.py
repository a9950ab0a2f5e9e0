"""The engine's adapters, fetched in this very process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import fetch_adapter, forget_adapter, sweep_cache


class Adapters(Protocol):
    """Adapters in storage, and this machine's copies of them."""

    def fetch(self, digest: str) -> Path:
        """The adapter's verified local folder.

        Raises:
            ObjectNotFound: storage holds no such adapter.
            CorruptAdapter: what it holds is not what the digest says.
            StorageUnavailable: it does not answer.
        """
        ...

    def forget(self, digest: str) -> None:
        """Remove a local folder whose adapter is not in storage any more."""
        ...

    def sweep(self) -> None:
        """Remove all such folders."""
        ...


@dataclass(frozen=True)
class Places:
    """Where storage is, and where this machine's copies go.

    As `Settings` has them, without what those need: vLLM's image may have another pydantic.
    """

    storage_url: str
    cache: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Places:
        """By `TUNESMITH_STORAGE_URL` and `TUNESMITH_HOME`."""
        home = Path(environment.get("TUNESMITH_HOME") or "~/.tunesmith").expanduser().absolute()
        url = environment.get("TUNESMITH_STORAGE_URL") or str(home / "storage")
        return cls(url, home / "cache" / "adapters")


class AdaptersHere:
    """See `Adapters`."""

    def __init__(self, places: Places) -> None:
        self._storage = Storage(places.storage_url)
        self._cache = places.cache

    def fetch(self, digest: str) -> Path:
        """See `Adapters.fetch`."""
        return fetch_adapter(self._storage, digest, self._cache)

    def forget(self, digest: str) -> None:
        """See `Adapters.forget`."""
        forget_adapter(self._storage, digest, self._cache)

    def sweep(self) -> None:
        """See `Adapters.sweep`."""
        sweep_cache(self._storage, self._cache)
