"""`POST /v1/advice`: the worked example, prices by a model's name, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import Gateway, Tenant, error_of

WORKED: dict[str, Any] = {
    "queries_per_month": 10_000,
    "price_per_query": 0.03,
    "upfront_cost": [2000, 5000],
    "monthly_cost": [50, 100],
}


@pytest.fixture(scope="module")
def asker(sqlite_gateway: Gateway) -> Tenant:
    return sqlite_gateway.tenant()


def test_the_worked_example(asker: Tenant) -> None:
    facts = {"examples": 300, "task_repetitive": True, "prompting_sufficient": False}
    answer = asker.http.post("/v1/advice", json=WORKED | facts | {"months": 24})
    assert answer.status_code == 200, answer.text
    advice = answer.json()
    found = advice["break_even"]
    months = [found[case]["break_even_months"] for case in ("best", "middle", "worst")]
    assert months == [8.0, pytest.approx(15.5556, abs=1e-4), 25.0]
    assert found["middle"]["savings"] == {
        "12": pytest.approx(-800),
        "24": pytest.approx(1900),
        "36": pytest.approx(4600),
    }
    assert [row["month"] for row in found["series"]] == list(range(25))
    assert {item["input"] for item in found["sensitivity"]} == set(WORKED)
    assert advice["currency"] == "USD"
    assert advice["recommendation"]["verdict"] == "fine_tune"


def test_a_question_without_costs_is_answered_and_asks_for_them(asker: Tenant) -> None:
    answer = asker.http.post("/v1/advice", json={"one_off": True}).json()
    assert answer["break_even"] is None
    assert answer["recommendation"]["verdict"] == "do_not_fine_tune"
    assert any("cost today" in question for question in answer["recommendation"]["questions"])


def test_what_never_pays_is_null_and_said(asker: Tenant) -> None:
    found = asker.http.post("/v1/advice", json=WORKED | {"monthly_cost": 300}).json()["break_even"]
    assert [found[case]["break_even_months"] for case in ("best", "middle", "worst")] == [None] * 3
    assert found["summary"][0].startswith("It never pays for itself")


def test_a_models_price_comes_from_the_prices_file(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nmodel = "big"\ninput_per_million = 2.5\noutput_per_million = 10\n'
        'currency = "EUR"\nas_of = 2026-01-01\nsource = "https://example.com"\n'
    )
    tenant = make_gateway(prices_file=prices).tenant()
    body = {name: value for name, value in WORKED.items() if name != "price_per_query"} | {
        "tokens_in_per_query": 4000,
        "tokens_out_per_query": 2000,
        "api_model": "big",
    }
    advice = tenant.http.post("/v1/advice", json=body).json()
    assert advice["break_even"]["worst"]["break_even_months"] == pytest.approx(25)
    assert advice["currency"] == "EUR"
    assert advice["price"]["as_of"] == "2026-01-01"
    changes: list[tuple[str, Any]] = [
        ("api_model", "huge"),
        ("currency", "USD"),
        ("input_price_per_million", 1),
    ]
    for param, value in changes:
        refused = tenant.http.post("/v1/advice", json=body | {param: value})
        assert refused.status_code == 400
        assert error_of(refused)["param"] == param
    prices.write_text("[[price]]\nmodel = 5\n")
    refused = tenant.http.post("/v1/advice", json=body)
    assert refused.status_code == 400
    assert "entry 1" in error_of(refused)["message"]
    assert str(tmp_path) not in refused.text


def test_without_a_prices_file_a_name_says_no_price(asker: Tenant) -> None:
    refused = asker.http.post("/v1/advice", json={"api_model": "big"})
    assert refused.status_code == 400
    assert error_of(refused)["code"] == "no_prices"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"queries_per_month": -1}, "queries_per_month"),
        ({"queries_per_month": "10"}, "queries_per_month"),
        ({"queries_per_month": True}, "queries_per_month"),
        ({"queries_per_month": [2, 1]}, "queries_per_month"),
        ({"queries_per_month": [1]}, "queries_per_month"),
        ({"queries_per_month": 1e300}, "queries_per_month"),
        ({"tokens_in_per_query": 1e9}, "tokens_in_per_query"),
        ({"monthly_cost": None}, "monthly_cost"),
        ({"currency": "dollar"}, "currency"),
        ({"months": 0}, "months"),
        ({"examples": 1.5}, "examples"),
        ({"task_repetitive": "yes"}, "task_repetitive"),
        ({"budget": 1}, "budget"),
    ],
)
def test_bad_input_is_named(asker: Tenant, change: dict[str, Any], param: str) -> None:
    refused = asker.http.post("/v1/advice", json=WORKED | change)
    assert refused.status_code == 400, refused.text
    assert error_of(refused)["param"] == param


def test_numbers_beyond_numbers_are_refused(asker: Tenant) -> None:
    for number in ("NaN", "Infinity", "1e999", "1" + "0" * 4000):
        refused = asker.http.post(
            "/v1/advice",
            content=f'{{"queries_per_month": {number}}}',
            headers={"content-type": "application/json"},
        )
        assert refused.status_code == 400, number


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
NUMBER = st.floats(0, 1e12) | st.lists(st.floats(0, 1e12), min_size=2, max_size=2).map(sorted)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.fixed_dictionaries(dict.fromkeys(WORKED, NUMBER | JSON)),
    st.dictionaries(st.sampled_from(["examples", "months", "one_off", "currency"]), JSON),
)
def test_no_body_is_a_fault_of_the_server(
    asker: Tenant, costs: dict[str, Any], facts: dict[str, Any]
) -> None:
    try:
        content = json.dumps(costs | facts).encode()
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return
    answer = asker.http.post(
        "/v1/advice", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        error_of(answer)


def test_a_key_is_needed(sqlite_gateway: Gateway) -> None:
    assert sqlite_gateway.anonymous().post("/v1/advice", json={}).status_code == 401
    assert sqlite_gateway.admin.post("/v1/advice", json={}).status_code == 403
