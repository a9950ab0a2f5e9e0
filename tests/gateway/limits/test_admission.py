"""What a request gets: let in, or 429 as OpenAI has it; and what its headers say."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI, Response
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.limits.virtual import clock, run

from tunesmith.gateway import errors
from tunesmith.gateway.limits.estimate import TokenEstimates
from tunesmith.gateway.limits.headers import duration
from tunesmith.gateway.limits.in_force import CallerLimits, Rates
from tunesmith.gateway.limits.request_limits import RequestLimits
from tunesmith.gateway.limits.store import MemoryStore
from tunesmith.platform.domain.errors import RateLimited
from tunesmith.platform.limits.gateways import Place


def caller(tenant: Rates, key: Rates = Rates()) -> CallerLimits:  # noqa: B008
    return CallerLimits("org-1", "key-1", tenant, key)


def make_limits(place: Place | None = None) -> RequestLimits:
    if place is None:
        return RequestLimits(MemoryStore(clock), clock=clock)
    return RequestLimits(MemoryStore(clock), lambda: place, clock)


def test_nothing_limited_is_no_work_and_no_headers() -> None:
    assert CallerLimits.in_force("org-1", "key-1", Rates(), None, {}) is None
    assert CallerLimits.in_force("org-1", "key-1", Rates(), {"queued_jobs": 3}, None) is None

    async def scenario() -> None:
        admission = make_limits().admit_now(None, 10)
        assert admission is not None
        assert admission.headers == {}
        admission.settle(10)

    run(scenario())


def test_a_tenants_own_limits_replace_the_platforms_and_a_keys_are_beside_them() -> None:
    found = CallerLimits.in_force(
        "org-1",
        "key-1",
        Rates(100, 1_000, 10),
        {"requests_per_minute": 200, "tokens_per_minute": None},
        {"concurrent_requests": 2},
    )
    assert found == caller(Rates(200, 1_000, 10), Rates(None, None, 2))


def test_the_headers_say_what_is_left() -> None:
    async def scenario() -> dict[str, str]:
        async with make_limits() as limits:
            both = caller(Rates(60, 6_000), Rates(tokens_per_minute=3_000))
            admission = await limits.admit(both, 1_000)
            headers = admission.headers
            admission.settle(400)
            assert admission.headers["x-ratelimit-remaining-tokens"] == "2600"
            later = await limits.admit(both, 100)
            assert later.headers["x-ratelimit-remaining-tokens"] == "2500"
            return headers

    assert run(scenario()) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "3000",
        "x-ratelimit-remaining-tokens": "2000",
        "x-ratelimit-reset-tokens": "20s",
    }


def test_a_limit_that_is_reached_says_when_to_come_again() -> None:
    async def scenario() -> RateLimited:
        async with make_limits() as limits:
            three = caller(Rates(requests_per_minute=3))
            for _ in range(3):
                (await limits.admit(three, 1)).settle(1)
            with pytest.raises(RateLimited) as refused:
                await limits.admit(three, 1)
            await asyncio.sleep(20)
            (await limits.admit(three, 1)).settle(1)
            return refused.value

    error = run(scenario())
    assert error.retry_after == 20
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    assert error.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert error.body() == {
        "error": {
            "message": "Rate limit reached for organization org-1 on requests per min (RPM):"
            " Limit 3, Used 3, Requested 1. Please try again in 20s.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }


def test_the_keys_own_limit_holds_too_and_a_refusal_takes_nothing() -> None:
    async def scenario() -> RateLimited:
        async with make_limits() as limits:
            both = caller(Rates(100, 1_000), Rates(requests_per_minute=2))
            for _ in range(2):
                (await limits.admit(both, 10)).settle(10)
            with pytest.raises(RateLimited) as refused:
                await limits.admit(both, 10)
            other = CallerLimits("org-1", "key-2", both.tenant, Rates())
            admission = await limits.admit(other, 10)
            assert admission.headers["x-ratelimit-remaining-requests"] == "97"
            assert admission.headers["x-ratelimit-remaining-tokens"] == "970"
            return refused.value

    assert "API key key-1 on requests per min" in run(scenario()).message


def test_a_request_larger_than_the_limit_is_not_to_be_tried_again() -> None:
    async def scenario() -> RateLimited:
        async with make_limits() as limits:
            with pytest.raises(RateLimited, match="Request too large") as refused:
                await limits.admit(caller(Rates(10, 1_000)), 1_001)
            assert "remaining-requests" in str(refused.value.headers)
            admitted = await limits.admit(caller(Rates(10, 1_000)), 1_000)
            assert admitted.headers["x-ratelimit-remaining-requests"] == "9"
            return refused.value

    error = run(scenario())
    assert error.retry_after is None
    assert error.limited == "tokens"
    assert errors.render(error).headers["x-should-retry"] == "false"


def test_an_answer_longer_than_its_estimate_is_paid_for_before_the_next() -> None:
    async def scenario() -> None:
        async with make_limits() as limits:
            tokens = caller(Rates(tokens_per_minute=600))
            (await limits.admit(tokens, 100)).settle(900)
            with pytest.raises(RateLimited) as refused:
                await limits.admit(tokens, 50)
            assert refused.value.retry_after == 35  # 300 below zero, 10 a second
            (await limits.admit(CallerLimits("org-2", "key-2", *tokens_of(tokens)), 50)).settle(50)
            await asyncio.sleep(35.1)
            (await limits.admit(tokens, 50)).settle(None)

    def tokens_of(limits: CallerLimits) -> tuple[Rates, Rates]:
        return limits.tenant, limits.key

    run(scenario())


@pytest.mark.parametrize(("place", "part"), [(Place(0, 1), 5), (Place(1, 2), 2), (Place(2, 9), 1)])
def test_requests_at_once_are_this_gateways_part(place: Place, part: int) -> None:
    async def scenario() -> None:
        async with make_limits(place) as limits:
            five = caller(Rates(concurrent_requests=5))
            admitted = [limits.admit_now(five, 1) for _ in range(part)]
            for again in (1, 2):
                with pytest.raises(RateLimited, match="requests at once"):
                    await limits.admit(five, again)
            for admission in admitted:
                assert admission is not None
                admission.settle(1)
                admission.settle(1)
            assert all(limits.admit_now(five, 1) for _ in range(part))

    run(scenario())


def test_clients_that_go_while_they_wait_hold_nothing() -> None:
    async def scenario() -> None:
        async with make_limits() as limits:
            some = caller(Rates(1_000, 10_000, 3))
            for _ in range(20):
                waiting = [asyncio.create_task(limits.admit(some, 10)) for _ in range(3)]
                await asyncio.sleep(0)
                for task in waiting:
                    task.cancel()
                for done in await asyncio.gather(*waiting, return_exceptions=True):
                    if not isinstance(done, BaseException):
                        done.settle(0)
            admitted = [await limits.admit(some, 10) for _ in range(3)]
            assert len(admitted) == 3

    run(scenario())


def test_callers_that_are_gone_are_forgotten_but_not_what_runs() -> None:
    async def scenario() -> None:
        async with make_limits() as limits:
            running = await limits.admit(caller(Rates(60, 6_000, 5)), 100)
            for number in range(50):
                other = CallerLimits(f"org-{number + 2}", f"key-{number}", Rates(60), Rates())
                (await limits.admit(other, 1)).settle(1)
            assert limits.known == 51
            await asyncio.sleep(200)
            assert limits.known == 1
            running.settle(7_000)  # ten minutes' answer counts all the same
            with pytest.raises(RateLimited):
                await limits.admit(caller(Rates(60, 6_000, 5)), 100)

    run(scenario())


def test_a_new_limit_counts_from_the_next_request_on() -> None:
    async def scenario() -> None:
        async with make_limits() as limits:
            for _ in range(2):
                (await limits.admit(caller(Rates(requests_per_minute=2)), 1)).settle(1)
            with pytest.raises(RateLimited):
                await limits.admit(caller(Rates(requests_per_minute=2)), 1)
            await asyncio.sleep(2)
            (await limits.admit(caller(Rates(requests_per_minute=60)), 1)).settle(1)

    run(scenario())


@given(st.floats(0, 100_000))
def test_durations_read_as_openais_and_are_never_too_short(seconds: float) -> None:
    text = duration(seconds)
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?|(\d+)ms", text)
    assert found, text
    hours, minutes, rest, milliseconds = found.groups()
    value = (
        int(milliseconds) / 1000
        if milliseconds
        else int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0)
    )
    assert seconds - 1e-6 <= value <= seconds + 0.001001


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (8.64, "8.64s"), (360, "6m0s"), (3600, "1h0m0s")],
)
def test_durations_of_openais_documents(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_estimates_learn_how_long_answers_are() -> None:
    estimates = TokenEstimates()
    assert estimates.of("a", {"max_tokens": 100}, 400) == 200
    assert estimates.of("a", {"max_completion_tokens": 10, "n": 3}, 400) == 130
    assert estimates.of("a", {"max_output_tokens": 10}, 0) == 10
    for strange in (True, "9", -1, 1.5, None):
        assert estimates.of("a", {"max_tokens": strange, "n": strange}, 400) == 356
    for _ in range(200):
        estimates.learn("a", 20)
    assert estimates.of("a", {}, 400) == 120
    assert estimates.of("b", {}, 400) == 356


def test_the_official_sdk_waits_and_tries_again() -> None:
    app, asked = FastAPI(), []
    errors.install(app)

    @app.post("/v1/chat/completions")
    async def answer() -> Any:
        asked.append(1)
        if len(asked) == 1:
            raise RateLimited(
                "Rate limit reached.",
                limited="requests",
                retry_after=1,
                headers={"x-ratelimit-remaining-requests": "0"},
            )
        if len(asked) == 3:
            raise RateLimited("Request too large.", limited="tokens", retry_after=None)
        return Response('{"id": "1", "choices": []}', media_type="application/json")

    async def scenario() -> None:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:
            client = openai.AsyncOpenAI(
                api_key="sk-1", base_url="http://gateway/v1", http_client=http
            )
            ask = client.chat.completions.create
            assert (await ask(model="m", messages=[])).id == "1"
            with pytest.raises(openai.RateLimitError) as refused:
                await ask(model="m", messages=[])
            assert refused.value.code == "rate_limit_exceeded"
            assert refused.value.type == "tokens"

    asyncio.run(scenario())
    assert len(asked) == 3
