"""Budgets in Redis: one script each time, by Redis's clock."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tunesmith.platform.limits.bucket import Grant, Wish

_SECONDS = 1.0

# The same arithmetic as `tunesmith.platform.limits.bucket.grant`; a test compares them. A key
# lives until its bucket would be full again, and a minute more.
_TAKE = """
local limit, wanted, needed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(kept[1]) or limit, tonumber(kept[2]) or now
now = math.max(now, at)
level = math.min(limit, level + (now - at) * limit / 60)
level = math.min(limit, level + tonumber(ARGV[4]))
local granted = 0
if level >= math.max(needed, 1) then granted = math.floor(math.min(wanted, level)) end
level = level - granted
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level),
           'at', string.format('%.17g', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((limit - level) / limit * 60000) + 60000)
return {granted, string.format('%.17g', level)}
"""


class RedisStore:
    """Budgets in the Redis at `url`, under keys that begin with `tunesmith:budget:`."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            retry=Retry(NoBackoff(), 0),  # a script that was done may not be done again
        )
        self._take = self._redis.register_script(_TAKE)

    async def take(self, name: str, limit: float, wish: Wish) -> Grant:
        """Ask a budget.

        Raises:
            redis.RedisError: Redis cannot be reached, or refuses.
        """
        granted, level = await self._take(
            keys=[f"tunesmith:budget:{name}"],
            args=[limit, wish.wanted, wish.needed, repr(wish.returned)],
        )
        return Grant(int(granted), float(level))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
