"""What is asked for where: the engines that take requests, and the adapters that are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from .adapter import Adapter
from .engine import Engine
from .heat import Heat

REMEMBERED = 50_000
"""Adapters whose traffic is remembered, the last asked for; the rest count as cold."""
_RATE_HALF_LIFE = 10.0


class Traffic:
    """Requests to `engines`, a list that its owner changes and then calls `changed`.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, engines: list[Engine], clock: Callable[[], float]) -> None:
        self.engines = engines
        self.clock = clock
        self._version = 0
        self._fleets: dict[str, list[Engine]] = {}
        self._adapters: OrderedDict[str, Adapter] = OrderedDict()
        self._asked: set[Adapter] = set()
        self._bases: dict[str, Heat] = {}
        self._sent: dict[str, int] = {}

    def changed(self) -> None:
        """An engine came, went, or takes requests now or no more."""
        self._version += 1
        self._fleets.clear()

    def fleet(self, base: str) -> Sequence[Engine]:
        """Engines that take new requests for `base`, those whose breaker is open among them."""
        found = self._fleets.get(base)
        if found is None:
            found = [e for e in self.engines if e.is_up and not e.leaving and base in e.bases]
            self._fleets[base] = found
        return found

    @property
    def bases(self) -> Iterable[str]:
        """Bases that were asked for."""
        return self._bases

    def adapter(self, base: str, digest: str) -> Adapter:
        """What is known of an adapter, which may be nothing."""
        found = self._adapters.get(digest)
        if found is None or found.base != base:  # two names of one base
            return Adapter(base, digest, self.clock())
        return found

    def known(self, digests: Iterable[str]) -> Iterable[Adapter]:
        """Those of `digests` that were asked for."""
        return (self._adapters[digest] for digest in digests if digest in self._adapters)

    def last_asked(self, most: int) -> Iterable[Adapter]:
        """The adapters that were asked for last, the last one first."""
        return islice(reversed(self._adapters.values()), most)

    def order(self, adapter: Adapter) -> Sequence[Engine]:
        """The engines for an adapter, its first home first."""
        return adapter.ranked(self.fleet(adapter.base), self._version)

    def homes(self, adapter: Adapter) -> Sequence[Engine]:
        """The engines that an adapter's requests go to once they hold it."""
        return self.order(adapter)[: adapter.homes]

    def sent(self, base: str, adapter: Adapter | None, engine: Engine, now: float) -> None:
        """A request goes to `engine`."""
        if engine.breaker.next_try:
            engine.breaker.took(now)
        engine.sent += 1
        self._sent[base] = self._sent.get(base, 0) + 1
        if adapter is None:
            return
        digest = adapter.digest
        if digest in engine.adapters:
            engine.adapters.move_to_end(digest)
        adapter.sent += 1
        self._adapters[digest] = adapter
        self._adapters.move_to_end(digest)
        self._asked.add(adapter)
        if len(self._adapters) > REMEMBERED:
            self._adapters.popitem(last=False)

    def count(self) -> set[Adapter]:
        """Have what was sent in all rates; the adapters that were asked for since the last time."""
        now = self.clock()
        for engine in self.engines:
            engine.rate.add(now, engine.sent)
            engine.sent = 0
        for base, sent in self._sent.items():
            self._bases.setdefault(base, Heat(_RATE_HALF_LIFE, now)).add(now, sent)
            self._sent[base] = 0
        asked, self._asked = self._asked, set()
        for adapter in asked:
            adapter.count(now)
        return asked

    def rate(self, base: str, now: float) -> float:
        """Requests a second for `base` and the adapters on it."""
        heat = self._bases.get(base)
        return heat.rate(now) if heat else 0.0

    def forget(self, digest: str) -> None:
        """The adapter was deleted: it is neither warmed nor kept any more."""
        adapter = self._adapters.pop(digest, None)
        if adapter is not None:
            adapter.forgotten = True
