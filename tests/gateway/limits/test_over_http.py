"""Limits as clients of a gateway meet them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import BASE

HI: Any = [{"role": "user", "content": "hi"}]


def test_a_tenant_gets_what_its_limit_lets_it_have(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(requests_per_minute=2)
    tenant, other = gateway.tenant(), gateway.tenant()
    client = tenant.client.with_options(max_retries=0)
    remaining = []
    for _ in range(2):
        answer = client.chat.completions.with_raw_response.create(model=BASE, messages=HI)
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        remaining.append(answer.headers["x-ratelimit-remaining-requests"])
    assert remaining == ["1", "0"]
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model=BASE, messages=HI)
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "requests"
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 30
    other.client.chat.completions.create(model=BASE, messages=HI)
    client.models.list()  # only requests to engines count


def test_without_limits_there_are_no_headers(make_gateway: MakeGateway) -> None:
    tenant = make_gateway().tenant()
    answer = tenant.client.chat.completions.with_raw_response.create(model=BASE, messages=HI)
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_tokens_that_the_engine_reported_are_what_counts(make_gateway: MakeGateway) -> None:
    tenant = make_gateway(tokens_per_minute=2_000).tenant()
    client = tenant.client.with_options(max_retries=0)
    ask = client.chat.completions.with_raw_response.create
    first = ask(model=BASE, messages=HI, max_tokens=1_500)
    assert int(first.headers["x-ratelimit-remaining-tokens"]) <= 2_000
    ask(model=BASE, messages=HI, max_tokens=1_500)  # the first took far fewer
    with pytest.raises(openai.RateLimitError) as refused:
        ask(model=BASE, messages=HI, max_tokens=5_000)
    assert "Request too large" in str(refused.value)
    assert refused.value.response.headers["x-should-retry"] == "false"
