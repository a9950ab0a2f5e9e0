"""Usage: counted beside the requests, kept through a failing database, and what it saved."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, wait_for

from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.gateway.usage.sampling import storage_sampler
from tunesmith.platform import tenants
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.usage import Counts, UsageKey, UsageRow, add_usage, usage_of
from tunesmith.platform.usage.stored import sample

HI: Any = [{"role": "user", "content": "hi"}]
TODAY = datetime.now(UTC).date()


def rows_of(database: Database, tenant_id: str) -> list[UsageRow]:
    today = datetime.now(UTC).date()
    with database.reading() as session:
        return usage_of(session, tenant_id, TODAY, today)


def counts_of(database: Database, tenant_id: str) -> list[Counts]:
    return [row.counts for row in rows_of(database, tenant_id)]


def test_the_end_writes_what_was_counted(gateway: Gateway, tenant: Tenant) -> None:
    async def use() -> None:
        async with UsageLedger(gateway.database, seconds=3600) as ledger:
            for _ in range(3):
                ledger.record(tenant.id, "key-1", "ft:a", "", 10, 2)
            ledger.record(tenant.id, "key-1", "ft:a", "bot", 5, 1)
            assert counts_of(gateway.database, tenant.id) == []

    asyncio.run(use())
    assert [(r.alias, r.counts) for r in rows_of(gateway.database, tenant.id)] == [
        ("", Counts(3, 30, 6)),
        ("bot", Counts(1, 5, 1)),
    ]


def test_counts_are_written_while_it_runs(gateway: Gateway, tenant: Tenant) -> None:
    async def use() -> None:
        async with UsageLedger(gateway.database, seconds=0.01) as ledger:
            for _ in range(200):
                ledger.record(tenant.id, "key-1", "ft:a", "", 1, 1)
                await asyncio.sleep(0)
            written = asyncio.to_thread(
                wait_for,
                lambda: counts_of(gateway.database, tenant.id) == [Counts(200, 200, 200)],
            )
            await written

    asyncio.run(use())
    assert counts_of(gateway.database, tenant.id) == [Counts(200, 200, 200)]


def test_two_ledgers_add_to_the_same_rows(gateway: Gateway, tenant: Tenant) -> None:
    async def use() -> None:
        async with (
            UsageLedger(gateway.database, seconds=0.01) as one,
            UsageLedger(gateway.database, seconds=0.01) as other,
        ):
            for _ in range(100):
                one.record(tenant.id, "key-1", "ft:a", "", 1, 0)
                other.record(tenant.id, "key-1", "ft:a", "", 0, 1)
                await asyncio.sleep(0)

    asyncio.run(use())
    assert counts_of(gateway.database, tenant.id) == [Counts(200, 100, 100)]


def test_a_database_that_fails_loses_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")  # without tables, every write fails

    async def use() -> str:
        async with UsageLedger(database, seconds=0.01) as ledger:
            ledger.record("org-1", "key-1", "ft:a", "", 10, 2)
            assert not await ledger.flush()
            ledger.record("org-1", "key-1", "ft:a", "", 10, 2)
            assert not await ledger.flush()
            await asyncio.to_thread(migrate, database)
            # Now it fails because there is no such tenant: another kind of error is survived too.
            assert not await ledger.flush()
            with database.transaction() as session:
                tenants.create_tenant(session, "acme").id = "org-1"
            assert await ledger.flush()
            assert await ledger.flush()  # nothing is written twice
            return "org-1"

    assert counts_of(database, asyncio.run(use())) == [Counts(2, 20, 4)]
    database.dispose()


def test_an_end_without_a_database_comes_to_an_end(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")

    async def use() -> None:
        async with UsageLedger(database, seconds=3600, closing_seconds=0) as ledger:
            ledger.record("org-1", "key-1", "ft:a", "", 10, 2)

    asyncio.run(use())
    database.dispose()


def test_requests_are_counted_by_day_and_model(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway()
    tenant, other = gateway.tenant(), gateway.tenant()
    name, digest = gateway.train(tenant)
    engine.adapters.add(digest)
    for _ in range(2):
        tenant.client.chat.completions.create(model=name, messages=HI)
    list(
        tenant.client.chat.completions.create(
            model=name, messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )
    tenant.client.chat.completions.create(model=BASE, messages=HI)
    engine.fail_with = (400, {"error": {"message": "no", "type": "BadRequestError"}})
    assert tenant.http.post("/v1/completions", json={"model": name, "prompt": 1}).is_error

    def used() -> dict[str, int]:
        data = tenant.http.get("/v1/usage").json()["data"]
        return {row["model"]: row["requests"] for row in data}

    wait_for(lambda: used() == {name: 3, BASE: 1})
    answer = tenant.http.get("/v1/usage", params={"start": str(TODAY)}).json()
    assert answer["total"]["requests"] == 4
    tuned = next(row for row in answer["data"] if row["model"] == name)
    assert tuned["alias"] is None
    assert tuned["prompt_tokens"] > 0
    assert tuned["completion_tokens"] > 0
    assert other.http.get("/v1/usage").json()["data"] == []
    saved = tenant.http.get("/v1/savings", params={"price_per_query": 2}).json()
    assert (saved["requests"], saved["saved"]) == (3, 6.0)


@pytest.fixture
def used(gateway: Gateway, tenant: Tenant) -> Tenant:
    """A tenant with known use, of ten days ago and today."""
    before = (TODAY - timedelta(days=9)).isoformat()
    with gateway.database.transaction() as session:
        add_usage(
            session,
            {
                UsageKey(tenant.id, "key-1", "ft:a", "", before): Counts(100, 40_000, 20_000),
                UsageKey(tenant.id, "key-2", "ft:a", "bot", str(TODAY)): Counts(50, 1000, 500),
                UsageKey(tenant.id, "key-1", BASE, "", str(TODAY)): Counts(7, 70, 7),
            },
        )
    return tenant


def test_usage_of_days_and_of_a_key(used: Tenant) -> None:
    whole = used.http.get("/v1/usage").json()
    assert whole["total"] == {
        "requests": 157,
        "prompt_tokens": 41_070,
        "completion_tokens": 20_507,
        "cached_tokens": 0,
        "training_tokens": 0,
        "gib_months": 0,
        "cost": None,
    }
    today = used.http.get("/v1/usage", params={"start": str(TODAY), "end": str(TODAY)}).json()
    assert [(row["model"], row["alias"]) for row in today["data"]] == [
        ("ft:a", "bot"),
        (BASE, None),
    ]
    of_key = used.http.get("/v1/usage", params={"key_id": "key-2"}).json()
    assert of_key["total"]["requests"] == 50


def test_usage_is_added_up_by_what_is_asked_for(used: Tenant) -> None:
    def by(names: str) -> list[dict[str, Any]]:
        answer = used.http.get("/v1/usage", params={"group_by": names}).json()
        assert answer["group_by"] == [n for n in ("day", "model", "alias", "key") if n in names]
        data: list[dict[str, Any]] = answer["data"]
        return data

    assert {row["key"]: row["requests"] for row in by("key")} == {"key-1": 107, "key-2": 50}
    assert {(row["model"], row["key"]) for row in by("model,key")} == {
        ("ft:a", "key-1"),
        ("ft:a", "key-2"),
        (BASE, "key-1"),
    }
    assert {row["model"] for row in by("key")} == {None}
    refused = used.http.get("/v1/usage", params={"group_by": "tenant"})
    assert error_of(refused)["param"] == "group_by"


def test_usage_as_csv_is_no_formula(gateway: Gateway, used: Tenant) -> None:
    with gateway.database.transaction() as session:
        key = UsageKey(used.id, "key-3", "=1+1", "@bot", str(TODAY))
        add_usage(session, {key: Counts(1, 2, 3, 1)})
    answer = used.http.get("/v1/usage", headers={"accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text == used.http.get("/v1/usage", params={"format": "csv"}).text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    [row] = [row for row in rows if row["requests"] == "1"]
    assert (row["model"], row["alias"]) == ("'=1+1", "'@bot")
    assert (row["prompt_tokens"], row["cached_tokens"], row["cost"]) == ("2", "1", "")
    assert "key" not in row
    json = used.http.get("/v1/usage", params={"format": "json"}, headers={"accept": "text/csv"})
    assert json.json()["object"] == "usage"


def test_the_administrator_sees_all_tenants(gateway: Gateway, used: Tenant) -> None:
    other = gateway.tenant()
    assert used.http.get("/v1/organization/usage").status_code == 403
    every = gateway.admin.get("/v1/organization/usage").json()
    assert every["group_by"] == ["tenant"]
    assert {row["tenant"]: row["requests"] for row in every["data"]}[used.id] == 157
    of_one = gateway.admin.get("/v1/organization/usage", params={"tenant": used.id}).json()
    assert of_one["total"]["requests"] == 157
    assert {row["tenant"] for row in of_one["data"]} == {used.id}
    asked = {"tenant": other.id, "group_by": "tenant"}
    assert gateway.admin.get("/v1/organization/usage", params=asked).json()["data"] == []
    unknown = gateway.admin.get("/v1/organization/usage", params={"tenant": "nobody"})
    assert unknown.status_code == 404


def test_a_price_sheet_makes_costs(make_gateway: MakeGateway, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.toml"
    sheet.write_text(
        f'currency = "EUR"\n[[model]]\nmodel = "{BASE}"\nas_of = 2026-01-01\n'
        "prompt_per_million = 1\ncached_per_million = 0.5\ncompletion_per_million = 2\n"
        "training_per_million = 10\n[[storage]]\nas_of = 2026-01-01\nper_gib_month = 3\n"
    )
    gateway = make_gateway(price_sheet=sheet)
    tenant = gateway.tenant()
    model, _ = gateway.train(tenant)  # 1,234 tokens
    with gateway.database.transaction() as session:
        key = UsageKey(tenant.id, "k", model, "", str(TODAY))
        add_usage(session, {key: Counts(1, 1_000_000, 500_000, 200_000)})
        sample(session, TODAY)
    found = tenant.http.get("/v1/usage", params={"start": str(TODAY)}).json()
    assert found["currency"] == "EUR"
    assert found["unpriced_models"] == []
    [row] = found["data"]
    assert (row["model"], row["training_tokens"]) == (model, 1234)
    assert row["cost"] == pytest.approx(0.8 + 0.1 + 1.0 + 0.01234)
    [stored] = found["storage"]
    assert (
        stored["stored_bytes"]
        == tenant.http.get("/v1/organization/limits").json()["stored_bytes"]["used"]
    )
    assert found["total"]["cost"] == pytest.approx(row["cost"] + stored["cost"])


def test_storage_is_sampled_at_the_start(gateway: Gateway, tenant: Tenant) -> None:
    tenant.upload()

    async def run() -> None:
        async with storage_sampler(gateway.database):
            await asyncio.to_thread(
                wait_for, lambda: bool(tenant.http.get("/v1/usage").json()["storage"])
            )

    asyncio.run(run())


def test_savings_say_what_they_rest_on(used: Tenant) -> None:
    asked = {"price_per_query": 0.5, "upfront_cost": 60, "monthly_cost": 30.4375}
    found = used.http.get("/v1/savings", params=asked).json()
    assert (found["requests"], found["prompt_tokens"]) == (150, 41_000)
    assert found["api_cost"] == 75
    assert found["days"] == 10
    assert found["cost_here"] == pytest.approx(70)
    assert found["saved"] == pytest.approx(5)
    assert found["months_to_break_even"] == 0
    assert [(m["model"], m["alias"], m["api_cost"]) for m in found["models"]] == [
        ("ft:a", None, 50),
        ("ft:a", "bot", 25),
    ]
    by_token = used.http.get(
        "/v1/savings",
        params={
            "input_price_per_million": 1000,
            "output_price_per_million": 2000,
            "since": str(TODAY),
            "currency": "EUR",
        },
    ).json()
    assert by_token["saved"] == pytest.approx(2)
    assert by_token["currency"] == "EUR"


def test_savings_by_a_model_of_the_prices_file(make_gateway: MakeGateway, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nmodel = "big"\ninput_per_million = 1000\noutput_per_million = 0\n'
        f'currency = "EUR"\nas_of = {TODAY - timedelta(days=1)}\nsource = "x"\n'
    )
    gateway = make_gateway(prices_file=prices)
    tenant = gateway.tenant()
    days = [(TODAY - timedelta(days=back)).isoformat() for back in (0, 3)]
    with gateway.database.transaction() as session:
        add_usage(
            session, {UsageKey(tenant.id, "k", "ft:a", "", day): Counts(1, 1000, 1) for day in days}
        )
    found = tenant.http.get("/v1/savings", params={"api_model": "big"}).json()
    assert (found["api_cost"], found["unpriced_requests"]) == (1.0, 1)
    assert (found["currency"], found["api_model"]) == ("EUR", "big")
    unknown = tenant.http.get("/v1/savings", params={"api_model": "huge"})
    assert unknown.status_code == 400
    assert error_of(unknown)["param"] == "api_model"


@pytest.mark.parametrize(
    ("path", "params", "param"),
    [
        ("/v1/usage", {"start": "yesterday"}, "start"),
        ("/v1/usage", {"group_by": "day,colour"}, "group_by"),
        ("/v1/usage", {"format": "pdf"}, "format"),
        ("/v1/usage", {"start": "1700000000"}, "start"),
        ("/v1/usage", {"end": "2026-02-30"}, "end"),
        ("/v1/usage", {"end": "0001-01-01"}, "end"),
        ("/v1/usage", {"start": "2026-01-02", "end": "2026-01-01"}, "start"),
        ("/v1/usage", {"start": "2020-01-01", "end": "2026-01-01"}, "start"),
        ("/v1/savings", {}, "price_per_query"),
        ("/v1/savings", {"price_per_query": "1", "api_model": "x"}, "price_per_query"),
        ("/v1/savings", {"input_price_per_million": "1"}, "output_price_per_million"),
        ("/v1/savings", {"price_per_query": "nan"}, "price_per_query"),
        ("/v1/savings", {"price_per_query": "inf"}, "price_per_query"),
        ("/v1/savings", {"price_per_query": "-1"}, "price_per_query"),
        ("/v1/savings", {"price_per_query": "1", "monthly_cost": "1e99"}, "monthly_cost"),
        ("/v1/savings", {"price_per_query": "1", "currency": "x"}, "currency"),
        ("/v1/savings", {"price_per_query": "1", "since": "9999-12-31"}, "since"),
        ("/v1/savings", {"api_model": "big"}, "api_model"),
    ],
)
def test_bad_questions_are_named(
    sqlite_gateway: Gateway, path: str, params: dict[str, str], param: str
) -> None:
    refused = sqlite_gateway.tenant().http.get(path, params=params)
    assert refused.status_code == 400, refused.text
    assert error_of(refused)["param"] == param


def test_the_last_day_of_the_calendar_is_a_day(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    end = {"end": "9999-12-31", "until": "9999-12-31", "price_per_query": "1"}
    assert tenant.http.get("/v1/usage", params=end).status_code == 200
    assert tenant.http.get("/v1/savings", params=end).status_code == 200


def test_a_tenants_key_is_needed(sqlite_gateway: Gateway) -> None:
    for path in ("/v1/usage", "/v1/savings?price_per_query=1"):
        assert sqlite_gateway.anonymous().get(path).status_code == 401
        assert sqlite_gateway.admin.get(path).status_code == 403
