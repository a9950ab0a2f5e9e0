"""One request that was let in, and the limits of its caller that it counts against."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from tunesmith.platform.domain.errors import RateLimited
from tunesmith.platform.limits.gateways import Place

from .budget import Budget
from .headers import rate_headers
from .in_force import CallerLimits

_RETRY_AFTER = 1
_MOST_SECONDS = 60
"""The longest Retry-After: the official SDK ignores a longer one."""


class Running:
    """Requests of a tenant or key that this gateway works on now."""

    __slots__ = ("limit", "name", "now")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.now = 0


class Gate:
    """The budgets and counts that a caller's requests pass, the tenant's and the key's."""

    __slots__ = ("limits", "open", "requests", "running", "tokens")

    def __init__(
        self,
        limits: CallerLimits,
        budget: Callable[[str, int], Budget],
        running: Callable[[str, int], Running],
    ) -> None:
        self.limits = limits
        self.open = 0
        """Requests that were let in and not settled."""
        owners = (
            (f"tenant:{limits.tenant_id}", limits.tenant),
            (f"key:{limits.key_id}", limits.key),
        )
        self.requests = tuple(
            budget(f"{owner}:requests", rates.requests_per_minute)
            for owner, rates in owners
            if rates.requests_per_minute is not None
        )
        self.tokens = tuple(
            budget(f"{owner}:tokens", rates.tokens_per_minute)
            for owner, rates in owners
            if rates.tokens_per_minute is not None
        )
        self.running = tuple(
            running(owner, rates.concurrent_requests)
            for owner, rates in owners
            if rates.concurrent_requests is not None
        )

    @property
    def headers(self) -> dict[str, str]:
        """The `x-ratelimit-*` headers as of now."""
        return rate_headers(self.requests, self.tokens)

    def enter(self, place: Place) -> None:
        """Count one more request at once.

        Raises:
            RateLimited: this gateway's part of the limit is in use.
        """
        for count in self.running:
            if count.now >= place.part_of(count.limit):
                raise RateLimited(
                    f"Rate limit reached for {_called(count.name)} on requests at once: Limit"
                    f" {count.limit}. Please try again when one of yours has been answered.",
                    limited="requests",
                    limit="concurrent_requests",
                    retry_after=_RETRY_AFTER,
                    headers=self.headers,
                )
        for count in self.running:
            count.now += 1
        self.open += 1

    def leave(self) -> None:
        """Count one request less at once."""
        for count in self.running:
            count.now -= 1
        self.open -= 1

    def take_now(self, tokens: int) -> bool:
        """Take a request and its tokens from all leases, or from none."""
        taken = 0
        for budget in self.requests:
            if not budget.try_take(1):
                break
            taken += 1
        else:
            for budget in self.tokens:
                if not budget.try_take(tokens):
                    break
                taken += 1
            else:
                return True
        self._put_back(taken, tokens)
        return False

    async def take(self, tokens: int) -> None:
        """Take a request and its tokens from all budgets, or from none.

        Raises:
            RateLimited: one has not enough.
            Unavailable: the store of limits has been away for too long.
        """
        taken = 0
        try:
            for budgets, amount in ((self.requests, 1), (self.tokens, tokens)):
                for budget in budgets:
                    if amount > budget.limit or not await budget.take(amount):
                        raise self._refusal(budget, amount)
                    taken += 1
        except BaseException:  # refused, or cancelled: the client has gone
            self._put_back(taken, tokens)
            raise

    def _put_back(self, taken: int, tokens: int) -> None:
        for budget in self.requests[:taken]:
            budget.put(1)
        for budget in self.tokens[: max(0, taken - len(self.requests))]:
            budget.put(tokens)

    def _refusal(self, budget: Budget, amount: int) -> RateLimited:
        limited = "requests" if budget in self.requests else "tokens"
        unit = "requests per min (RPM)" if limited == "requests" else "tokens per min (TPM)"
        owner = _called(budget.name)
        if amount > budget.limit:
            return RateLimited(
                f"Request too large for {owner} on {unit}: Limit {budget.limit}, Requested"
                f" {amount}. The input or output tokens must be reduced in order to run"
                " successfully.",
                limited=limited,
                limit=f"{limited}_per_minute",
                retry_after=None,
                headers=self.headers,
            )
        # It may be there by now, and was not when it was asked.
        seconds = max(1, ceil(budget.seconds_until(amount)))
        used = min(budget.limit, ceil(budget.limit - budget.balance))
        return RateLimited(
            f"Rate limit reached for {owner} on {unit}: Limit {budget.limit}, Used {used},"
            f" Requested {amount}. Please try again in {seconds}s.",
            limited=limited,
            limit=f"{limited}_per_minute",
            retry_after=min(seconds, _MOST_SECONDS),
            headers=self.headers,
        )


def _called(name: str) -> str:
    kind, identifier = name.split(":")[:2]
    return f"{'organization' if kind == 'tenant' else 'API key'} {identifier}"


class Admission:
    """A request that was let in; to be settled once, however it ends."""

    __slots__ = ("_gate", "_open", "_tokens")

    def __init__(self, gate: Gate | None, tokens: int) -> None:
        self._gate = gate
        self._tokens = tokens
        self._open = gate is not None

    @property
    def headers(self) -> dict[str, str]:
        """The `x-ratelimit-*` headers as of now; none where nothing is limited."""
        return self._gate.headers if self._gate is not None else {}

    def settle(self, tokens: int | None) -> None:
        """The request has ended.

        Args:
            tokens: what the engine reported, prompt and answer; 0 where no engine worked on it;
                None where it is not known: then the estimate stands. A second call does nothing.
        """
        gate, is_open, self._open = self._gate, self._open, False
        if gate is None or not is_open:
            return
        gate.leave()
        if tokens is not None:
            for budget in gate.tokens:
                budget.put(self._tokens - tokens)
