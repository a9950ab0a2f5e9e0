"""Aliases over HTTP: who may move them, which model answers, and what the answer says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import typer
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, wait_for
from tests.platform.aliases.measured import measure, result
from typer.testing import CliRunner

from tunesmith.platform import bases
from tunesmith.platform.aliases import moving
from tunesmith.platform.aliases.revisions import By
from tunesmith.platform.cli import aliases
from tunesmith.platform.cli.errors import CommandFailed

BOT = "support-bot"
PATH = f"/v1/aliases/{BOT}"
HI: Any = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"


@dataclass
class Bot:
    """A tenant with an alias on the base."""

    gateway: Gateway
    tenant: Tenant
    engine: FakeEngine

    def post(self, path: str = "", *, ok: bool = True, **body: Any) -> dict[str, Any]:
        """An answer of one of the alias's routes."""
        answer = self.tenant.http.post(PATH + path, json=body)
        assert (answer.status_code == 200) is ok, answer.text
        found: dict[str, Any] = answer.json() if ok else error_of(answer)
        return found

    def ask(self, **fields: Any) -> httpx.Response:
        return self.tenant.http.post(CHAT, json={"model": BOT, "messages": HI} | fields)

    def served(self, **fields: Any) -> tuple[str, str, str]:
        """Model, alias and revision by the headers of an answer."""
        answer = self.ask(**fields)
        assert answer.status_code == 200, answer.text
        names = ("model", "alias", "alias-revision")
        model, alias, revision = (answer.headers[f"x-tunesmith-{name}"] for name in names)
        return model, alias, revision

    def model(self, found: dict[str, Any] | None = None) -> str:
        """Name of a new tuned model whose evaluation came to `found`; else to a good result."""
        name, digest = self.gateway.train(self.tenant)
        self.engine.adapters.add(digest)
        measure(self.gateway.database, self.tenant.id, name, found)
        return name


def make_bot(gateway: Gateway, tenant: Tenant, engine: FakeEngine) -> Bot:
    made = tenant.http.post("/v1/aliases", json={"name": BOT, "model": BASE})
    assert made.status_code == 200, made.text
    return Bot(gateway, tenant, engine)


@pytest.fixture
def bot(gateway: Gateway, tenant: Tenant, shared_engine: FakeEngine) -> Bot:
    return make_bot(gateway, tenant, shared_engine)


def test_an_alias_moves_through_the_gate_and_the_next_request_follows(bot: Bot) -> None:
    assert bot.served() == (BASE, BOT, "1")
    model = bot.model()
    moved = bot.post("/promote", model=model)
    assert (moved["model"], moved["revision"], moved["share"]) == (model, 2, 0.0)
    assert bot.served() == (model, BOT, "2")
    weak = bot.model(result("no clear difference", 0.01))
    refused = bot.post("/promote", ok=False, model=weak)
    assert (refused["code"], refused["param"]) == ("promotion_gate", "model")
    assert "force" in refused["message"]
    assert bot.served() == (model, BOT, "2")
    refused = bot.post("/promote", ok=False, model=weak, force=True)
    assert refused["param"] == "reason"
    bot.post("/promote", model=weak, force=True, reason="the old one is broken")
    assert bot.served() == (weak, BOT, "3")
    assert bot.post("/rollback")["model"] == model
    assert bot.served() == (model, BOT, "4")
    assert bot.tenant.http.post(f"{PATH}/rollback").json()["model"] == BASE  # without a body
    assert bot.served() == (BASE, BOT, "5")
    assert bot.post("/rollback", ok=False)["code"] == "nothing_to_roll_back"


def test_the_history_says_who_when_and_why(bot: Bot) -> None:
    weak = bot.model(result("worse", -0.1))
    bot.post("/promote", model=weak, force=True, reason="a try")
    bot.post("/split", candidate=BASE, share=0.5)
    bot.post("/rollback", reason="it was no good")
    listed = bot.tenant.http.get(f"{PATH}/history").json()
    keys = bot.gateway.admin.get(f"/v1/tenants/{bot.tenant.id}/keys").json()["data"]
    assert {item["key_id"] for item in listed["data"]} == {keys[0]["id"]}
    seen = [
        (item["revision"], item["action"], item["model"], item["forced"], item["reason"])
        for item in listed["data"]
    ]
    assert seen == [
        (4, "rollback", weak, False, "it was no good"),
        (3, "split", weak, False, None),
        (2, "promote", weak, True, "a try"),
        (1, "create", BASE, False, None),
    ]
    assert listed["data"][1]["candidate"] == BASE
    assert listed["data"][2]["evaluation"].startswith("evalrun_")
    assert all(item["created_at"] > 1e9 for item in listed["data"])
    first = bot.tenant.http.get(f"{PATH}/history?limit=3").json()
    assert (len(first["data"]), first["has_more"]) == (3, True)
    after = first["data"][-1]["id"]
    rest = bot.tenant.http.get(f"{PATH}/history?after={after}").json()
    assert ([item["revision"] for item in rest["data"]], rest["has_more"]) == ([1], False)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tuned", [False, True])
def test_the_answer_keeps_the_name_and_its_headers_say_who_served_it(
    bot: Bot, stream: bool, tuned: bool
) -> None:
    model = bot.model() if tuned else BASE
    if tuned:
        bot.post("/promote", model=model)
    for name in (BOT, model):
        answer = bot.ask(model=name, stream=stream)
        assert answer.headers["x-tunesmith-model"] == model
        assert answer.headers.get("x-tunesmith-alias") == (BOT if name == BOT else None)
        assert ("x-tunesmith-alias-revision" in answer.headers) is (name == BOT)
        if stream:
            assert answer.headers["content-type"].startswith("text/event-stream")
            chunks = list(bot.tenant.client.chat.completions.create(
                model=name, messages=HI, stream=True
            ))  # fmt: skip
            assert {chunk.model for chunk in chunks} == {name}
        else:
            assert answer.json()["model"] == name


def test_an_engines_refusal_says_who_was_asked(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway()
    bot = make_bot(gateway, gateway.tenant(), engine)
    engine.fail_with = (400, {"error": {"message": "max_tokens is too large", "param": None}})
    answer = bot.ask()
    assert (answer.status_code, answer.headers["x-tunesmith-model"]) == (400, BASE)
    error_of(answer)


def test_a_split_is_sticky_and_meets_its_share(bot: Bot) -> None:
    candidate = bot.model(result("worse", -0.9))
    assert bot.post("/split", candidate=candidate, share=0.3)["candidate"] == candidate
    users = [f"user-{number}" for number in range(60)]
    first = {user: bot.served(user=user)[0] for user in users}
    assert {bot.served(safety_identifier=user)[0] == first[user] for user in users[:20]} == {True}
    assert {bot.served(user=user)[0] == first[user] for user in users[:20]} == {True}
    count = list(first.values()).count(candidate)
    assert abs(count - 18) <= 16  # 60 draws at 0.3: 4.5 standard deviations
    bot.post("/split", candidate=candidate, share=0.7)
    grown = {user for user in users if bot.served(user=user)[0] == candidate}
    assert {user for user, model in first.items() if model == candidate} <= grown
    assert len(grown) > count

    measure(bot.gateway.database, bot.tenant.id, candidate)
    bot.post("/promote", model=candidate)
    assert {bot.served(user=user)[0] for user in users[:20]} == {candidate}


def test_without_a_user_both_models_answer(bot: Bot) -> None:
    candidate = bot.model()
    bot.post("/split", candidate=candidate, share=0.5)
    assert {bot.served()[0] for _ in range(60)} == {BASE, candidate}  # misses once in 2 ** 59
    assert {bot.served(user=no_user)[0] for no_user in ("", None, 5, *[""] * 57)} == {
        BASE,
        candidate,
    }


@pytest.mark.parametrize("way", ["delete", "zero", "rollback"])
def test_a_split_ends(bot: Bot, way: str) -> None:
    candidate = bot.model()
    bot.post("/split", candidate=candidate, share=0.99)
    if way == "delete":
        assert bot.tenant.http.delete(f"{PATH}/split").json()["candidate"] is None
    elif way == "zero":
        bot.post("/split", share=0)
    else:
        bot.post("/rollback")
    assert bot.served(user="user-1") == (BASE, BOT, "3")
    assert bot.post("/split", ok=False, share=0)["code"] == "no_split"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/split", {"candidate": BASE, "share": 1}, "share"),
        ("/split", {"candidate": BASE, "share": -0.1}, "share"),
        ("/split", {"candidate": BASE, "share": True}, "share"),
        ("/split", {"candidate": BASE, "share": "0.5"}, "share"),
        ("/split", {"candidate": BASE}, "share"),
        ("/split", {"share": 0.5}, "candidate"),
        ("/split", {"candidate": BASE, "share": 0.5}, "candidate"),
        ("/promote", {}, "model"),
        ("/promote", {"model": BASE, "force": 1}, "force"),
        ("/promote", {"model": BASE, "reason": ""}, "reason"),
        ("/promote", {"model": BASE, "reason": "x" * 1001}, "reason"),
        ("/promote", {"model": BASE, "share": 0.1}, "share"),
        ("/rollback", {"model": BASE}, "model"),
    ],
)
def test_bad_bodies_are_refused(
    sqlite_gateway: Gateway, shared_engine: FakeEngine, path: str, body: Any, param: str
) -> None:
    bot = make_bot(sqlite_gateway, sqlite_gateway.tenant(), shared_engine)
    assert bot.post(path, ok=False, **body)["param"] == param
    assert bot.tenant.http.get(PATH).json()["revision"] == 1


def test_an_alias_to_a_deleted_model_is_a_404_that_names_the_alias(bot: Bot) -> None:
    model = bot.model()
    bot.post("/promote", model=model)
    assert bot.served()[0] == model
    bot.tenant.client.models.delete(model)
    with pytest.raises(openai.NotFoundError) as missing:
        bot.tenant.client.chat.completions.create(model=BOT, messages=HI)
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    assert BOT in missing.value.message
    assert model in missing.value.message
    bot.post("/rollback")
    assert bot.served() == (BASE, BOT, "3")


def test_the_share_of_a_deleted_candidate_goes_back_to_the_model(bot: Bot) -> None:
    candidate = bot.model()
    bot.post("/split", candidate=candidate, share=0.99)
    user = next(f"u{n}" for n in range(99) if bot.served(user=f"u{n}")[0] == candidate)
    bot.tenant.client.models.delete(candidate)
    assert bot.served(user=user) == (BASE, BOT, "2")


def test_another_gateway_follows_within_its_cache(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    one = make_gateway()
    other = make_gateway(database_url=one.settings.database_url)
    bot = make_bot(one, one.tenant(), engine)
    there = other.anonymous(bot.tenant.key)

    def served() -> str:
        answer = there.post(CHAT, json={"model": BOT, "messages": HI})
        return str(answer.headers["x-tunesmith-alias-revision"])

    assert served() == "1"
    bot.post("/promote", model=BASE)
    wait_for(lambda: served() == "2", seconds=10)


def test_aliases_are_listed_with_the_models(bot: Bot) -> None:
    model = bot.model()
    bot.post("/promote", model=model)
    listed = {found.id: found for found in bot.tenant.client.models.list()}
    assert {BASE, model, BOT} <= set(listed)
    assert listed[BOT].owned_by == bot.tenant.id
    assert listed[BOT].model_dump()["parent"] == model
    assert bot.tenant.client.models.retrieve(BOT) == listed[BOT]
    with pytest.raises(openai.BadRequestError, match=f"DELETE /v1/aliases/{BOT}"):
        bot.tenant.client.models.delete(BOT)
    assert bot.served()[0] == model


def test_a_deleted_alias_stops_answering_at_once(bot: Bot) -> None:
    bot.served()
    deleted = bot.tenant.http.delete(PATH)
    assert deleted.json() == {
        "id": deleted.json()["id"],
        "object": "alias",
        "name": BOT,
        "deleted": True,
    }
    assert bot.ask().status_code == 404
    assert bot.tenant.http.get("/v1/aliases").json()["data"] == []
    assert bot.tenant.http.get(PATH).status_code == 404


def test_a_base_that_comes_later_has_its_name(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway()
    bot = make_bot(gateway, gateway.tenant(), engine)
    with gateway.database.transaction() as session:
        bases.register_base(
            session,
            name=BOT,
            source="/x",
            digest="c" * 64,
            context_length=10,
            max_rank=8,
            config={},
        )
    owners = [m.owned_by for m in bot.tenant.client.models.list() if m.id == BOT]
    assert owners == ["tunesmith"]
    refused = bot.tenant.http.post("/v1/aliases", json={"name": BOT, "model": BASE})
    assert error_of(refused)["code"] == "name_taken"


def test_the_policy_is_the_tenants_own_and_counts_at_once(bot: Bot) -> None:
    http = bot.tenant.http
    model = bot.model(result("better", 0.3))
    default = {"minimum_relative_improvement": 0.2, "maximum_forgetting": 0.2}
    assert http.get("/v1/policy").json() == {"object": "policy"} | default
    changed = http.post("/v1/policy", json={"minimum_relative_improvement": 0.5})
    assert changed.json() == {"object": "policy"} | default | {"minimum_relative_improvement": 0.5}
    assert http.get("/v1/policy").json() == changed.json()
    assert "50 %" in bot.post("/promote", ok=False, model=model)["message"]
    assert bot.gateway.tenant().http.get("/v1/policy").json() == {"object": "policy"} | default
    for bad in ({"minimum_relative_improvement": -1}, {"maximum_forgetting": 2}, {"what": 1}):
        refused = http.post("/v1/policy", json=bad)
        assert (refused.status_code, error_of(refused)["param"]) == (400, next(iter(bad)))


def routes(own: str) -> list[tuple[str, str, dict[str, Any] | None, str]]:
    """(method, path with `{id}`, body with `{id}`, kind of id) of every route that takes an id."""
    return [
        ("GET", "/v1/aliases/{id}", None, "alias"),
        ("DELETE", "/v1/aliases/{id}", None, "alias"),
        ("GET", "/v1/aliases/{id}/history", None, "alias"),
        ("POST", "/v1/aliases/{id}/promote", {"model": BASE}, "alias"),
        ("POST", "/v1/aliases/{id}/split", {"candidate": own, "share": 0.5}, "alias"),
        ("DELETE", "/v1/aliases/{id}/split", None, "alias"),
        ("POST", "/v1/aliases/{id}/rollback", {}, "alias"),
        ("GET", "/v1/models/{id}", None, "alias"),
        ("DELETE", "/v1/models/{id}", None, "alias"),
        ("POST", CHAT, {"model": "{id}", "messages": HI}, "alias"),
        ("GET", "/v1/aliases?after={id}", None, "alias_id"),
        ("GET", f"{PATH}/history?after={{id}}", None, "revision"),
        ("POST", "/v1/aliases", {"name": "new", "model": "{id}"}, "model"),
        ("POST", f"{PATH}/promote", {"model": "{id}"}, "model"),
        ("POST", f"{PATH}/split", {"candidate": "{id}", "share": 0.5}, "model"),
        ("POST", f"{PATH}/promote", {"model": own, "evaluation": "{id}"}, "evaluation"),
    ]


def test_a_foreign_thing_is_a_missing_thing(bot: Bot) -> None:
    other = bot.gateway.tenant()
    theirs = Bot(bot.gateway, other, bot.engine)
    model = theirs.model()
    evaluation = measure(bot.gateway.database, other.id, model)
    made = other.http.post("/v1/aliases", json={"name": "their-bot", "model": model}).json()
    foreign = {
        "alias": "their-bot",
        "alias_id": made["id"],
        "revision": f"{made['id']}-1",
        "model": model,
        "evaluation": evaluation,
    }
    missing = {
        "alias": "other-bot",
        "alias_id": "alias_" + "x" * 24,
        "revision": f"alias_{'x' * 24}-1",
        "model": "ft:pocket:nobody::xxxxxxxx",
        "evaluation": "evalrun_" + "x" * 24,
    }

    def ask(method: str, path: str, body: dict[str, Any] | None, id_: str) -> tuple[int, str]:
        filled = None if body is None else {k: id_ if v == "{id}" else v for k, v in body.items()}
        answer = bot.tenant.http.request(method, path.replace("{id}", id_), json=filled)
        error_of(answer)
        return answer.status_code, answer.text.replace(id_, "{id}")

    for method, path, body, kind in routes(bot.model()):
        said = ask(method, path, body, foreign[kind])
        assert said == ask(method, path, body, missing[kind]), (method, path)
        assert said[0] == 404, (method, path, said)
    assert other.http.get("/v1/aliases/their-bot").json() == made
    assert bot.tenant.http.get(PATH).json()["revision"] == 1
    # Two tenants' aliases of one name are two aliases.
    other.http.post("/v1/aliases", json={"name": BOT, "model": model})
    assert bot.served()[0] == BASE
    assert theirs.served()[0] == model


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/aliases"),
        ("GET", "/v1/aliases"),
        ("GET", "/v1/aliases/x"),
        ("DELETE", "/v1/aliases/x"),
        ("POST", "/v1/aliases/x/promote"),
        ("POST", "/v1/aliases/x/split"),
        ("DELETE", "/v1/aliases/x/split"),
        ("POST", "/v1/aliases/x/rollback"),
        ("GET", "/v1/aliases/x/history"),
        ("GET", "/v1/policy"),
        ("POST", "/v1/policy"),
    ],
)
def test_only_a_tenants_key_opens_it(sqlite_gateway: Gateway, method: str, path: str) -> None:
    for content in (b"{", None) if method == "POST" else (None,):
        for key in (None, "sk-ts-wrong"):
            answer = sqlite_gateway.anonymous(key).request(method, path, content=content)
            assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
    body = {"name": "n", "model": BASE, "candidate": BASE, "share": 0.5}
    by_path = {
        "/v1/aliases": ("name", "model"),
        "/v1/aliases/x/promote": ("model",),
        "/v1/aliases/x/split": ("candidate", "share"),
    }
    json = {name: body[name] for name in by_path.get(path, ())} if method == "POST" else None
    answer = sqlite_gateway.admin.request(method, path, json=json)
    assert answer.status_code == 403


class Commands:
    """`tunesmith aliases ...` and `tunesmith policy ...` with a tenant's key."""

    def __init__(self, bot: Bot) -> None:
        self.where = ["--url", bot.gateway.url, "--api-key", bot.tenant.key]
        self.app = typer.Typer()
        self.app.add_typer(aliases.app, name="aliases")
        self.app.command()(aliases.policy)

    def __call__(self, *words: str) -> Any:
        """The answer as JSON; the same without `--json` is only run."""
        runner = CliRunner()
        done = runner.invoke(self.app, [*words, *self.where, "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    def text(self, *words: str) -> str:
        done = CliRunner().invoke(self.app, [*words, *self.where])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def failure(self, *words: str) -> str:
        done = CliRunner().invoke(self.app, [*words, *self.where])
        assert isinstance(done.exception, CommandFailed), (done.output, done.exception)
        return str(done.exception)


def test_the_commands_do_all_of_it(sqlite_gateway: Gateway, shared_engine: FakeEngine) -> None:
    bot = make_bot(sqlite_gateway, sqlite_gateway.tenant(), shared_engine)
    run = Commands(bot)
    good, weak = bot.model(), bot.model(result("worse", -0.1))
    assert run("aliases", "create", "second", good)["model"] == good
    assert "promotion gate" in run.failure("aliases", "promote", BOT, weak)
    assert run("aliases", "split", BOT, weak, "--share", "0.25")["share"] == 0.25
    assert "25 %" in run.text("aliases", "get", BOT)
    assert run("aliases", "split", BOT, "--end")["candidate"] is None
    for words in ((), (weak, "--end")):
        assert "--end" in run.failure("aliases", "split", BOT, *words)
    forced = run("aliases", "promote", BOT, weak, "--force", "--reason", "a try")
    assert (forced["model"], forced["revision"]) == (weak, 4)
    assert run("aliases", "rollback", BOT)["model"] == BASE
    listed = run("aliases", "history", BOT)
    assert [row["revision"] for row in listed] == [5, 4, 3, 2, 1]
    assert len(run("aliases", "history", BOT, "--limit", "2")) == 2
    table = run.text("aliases", "history", BOT)
    assert "promote (forced)" in table
    assert "a try" in table
    assert {row["name"] for row in run("aliases", "list")} == {BOT, "second"}
    assert good in run.text("aliases", "list")
    assert run("policy")["maximum_forgetting"] == 0.2
    assert run("policy", "--bar", "0.5")["minimum_relative_improvement"] == 0.5
    assert "50 %" in run.text("policy")
    assert "second is deleted" in run.text("aliases", "delete", "second")
    assert "No alias 'second' exists" in run.failure("aliases", "get", "second")


def test_a_long_history_is_listed_over_pages(
    sqlite_gateway: Gateway, shared_engine: FakeEngine
) -> None:
    bot = make_bot(sqlite_gateway, sqlite_gateway.tenant(), shared_engine)
    for _ in range(120):
        with sqlite_gateway.database.transaction() as session:
            moving.promote(session, bot.tenant.id, BOT, moving.Move(BASE), By("key_x"))
    listed = Commands(bot)("aliases", "history", BOT, "--limit", "115")
    assert [row["revision"] for row in listed] == list(range(121, 6, -1))
