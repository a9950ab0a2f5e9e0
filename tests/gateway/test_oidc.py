"""Bearer tokens of an OIDC issuer: which count, as whom, and for what."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.gateway.conftest import settings_for
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, Tenant, error_of
from tests.gateway.stub_issuer import AUDIENCE, Issuer

from tunesmith.gateway.keys import issuer as issuer_module
from tunesmith.gateway.keys.issuer import IssuerKeys
from tunesmith.gateway.oidc import Token, TokenVerifier
from tunesmith.platform.domain.errors import NotAuthenticated, Unavailable
from tunesmith.platform.settings import Settings

CLAIM = "tunesmith_tenant"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    made.add("ec", ec.generate_private_key(ec.SECP256R1()))
    made.add("ed", ed25519.Ed25519PrivateKey.generate())
    made.add("pss", rsa.generate_private_key(public_exponent=65537, key_size=2048), alg="PS256")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def trusting(
    tmp_path_factory: pytest.TempPathFactory, issuer: Issuer, shared_engine: FakeEngine
) -> Iterator[Gateway]:
    """A gateway that believes the issuer."""
    gateway = Gateway(
        settings_for(
            tmp_path_factory.mktemp("oidc"),
            shared_engine,
            oidc_issuer=issuer.url,
            oidc_audience=AUDIENCE,
        )
    )
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def someone(trusting: Gateway) -> Tenant:
    return trusting.tenant("Some One")


def ask(gateway: Gateway, bearer: str, path: str = "/v1/models") -> httpx.Response:
    return httpx.get(gateway.url + path, headers={"authorization": f"Bearer {bearer}"})


def refusal(gateway: Gateway, bearer: str) -> str:
    """What is said to a token that does not count."""
    answer = ask(gateway, bearer)
    assert answer.status_code == 401, answer.text
    return str(error_of(answer)["message"])


@pytest.mark.parametrize(
    ("kid", "algorithm"),
    [("rsa", "RS256"), ("rsa", "PS256"), ("pss", "PS256"), ("ec", "ES256"), ("ed", "EdDSA")],
)
def test_a_token_of_each_kind_of_key_counts(
    trusting: Gateway, issuer: Issuer, someone: Tenant, kid: str, algorithm: str
) -> None:
    answer = ask(trusting, issuer.token(kid, algorithm, **{CLAIM: someone.id}))
    assert answer.status_code == 200, answer.text
    assert answer.headers["openai-organization"] == someone.id


@pytest.mark.parametrize("called", ["id", "name", "slug"])
def test_a_tenant_is_named_by_id_name_or_slug(
    trusting: Gateway, issuer: Issuer, someone: Tenant, called: str
) -> None:
    named = trusting.admin.get(f"/v1/tenants/{someone.id}").json()[called]
    answer = ask(trusting, issuer.token(**{CLAIM: named}))
    assert answer.headers["openai-organization"] == someone.id


@pytest.mark.parametrize(
    ("scope", "opened"),
    [
        (None, set()),
        ("openid profile", set()),
        ("openid training", {"/v1/files"}),
        (["admin", 5], {"/v1/organization/api_keys"}),
        ("training admin", {"/v1/files", "/v1/organization/api_keys"}),
        ({"training": True}, set()),
    ],
)
def test_scopes_are_those_of_the_claim_else_inference(
    trusting: Gateway, issuer: Issuer, someone: Tenant, scope: object, opened: set[str]
) -> None:
    claims: dict[str, Any] = {CLAIM: someone.id, "scope": scope}
    token = issuer.token(**claims)
    found = {
        path
        for path in ("/v1/files", "/v1/organization/api_keys")
        if ask(trusting, token, path).status_code == 200
    }
    assert found == opened
    chat = httpx.post(
        f"{trusting.url}/v1/chat/completions", json={}, headers={"authorization": f"Bearer {token}"}
    )
    assert (chat.status_code != 403) == (not opened)


def test_what_its_subject_does_is_noted_under_its_name(
    trusting: Gateway, issuer: Issuer, someone: Tenant
) -> None:
    token = issuer.token(**{CLAIM: someone.id, "scope": "admin", "sub": "ada@example.org"})
    made = httpx.post(
        f"{trusting.url}/v1/organization/api_keys",
        json={},
        headers={"authorization": f"Bearer {token}"},
    ).json()
    (act,) = trusting.admin.get(
        "/v1/organization/audit_logs", params={"resource_ids[]": made["id"]}
    ).json()["data"]
    assert act["actor"] == {"type": "oidc", "id": "oidc:ada@example.org"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exp": int(time.time()) - 60}, "has expired"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"iat": int(time.time()) + 3600}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "lacks the claim `aud`"),
        ({"exp": None}, "lacks the claim `exp`"),
        ({"sub": None}, "lacks the claim `sub`"),
        ({CLAIM: None}, "does not say whose it is"),
        ({CLAIM: ["a", "b"]}, "does not say whose it is"),
        ({CLAIM: "a\0b"}, "does not say whose it is"),
        ({CLAIM: "org-nobody"}, "a tenant 'org-nobody'"),
    ],
)
def test_a_token_that_does_not_count_is_refused_in_a_sentence(
    trusting: Gateway, issuer: Issuer, someone: Tenant, changes: dict[str, Any], said: str
) -> None:
    assert said in refusal(trusting, issuer.token(**({CLAIM: someone.id} | changes)))


def test_clocks_may_differ_by_half_a_minute(
    trusting: Gateway, issuer: Issuer, someone: Tenant
) -> None:
    now = int(time.time())
    good = issuer.token(**{CLAIM: someone.id}, exp=now - 5, nbf=now + 15, iat=now + 15)
    assert ask(trusting, good).status_code == 200


def test_a_suspended_tenants_token_is_told_so(trusting: Gateway, issuer: Issuer) -> None:
    tenant = trusting.tenant()
    token = issuer.token(**{CLAIM: tenant.id})
    assert ask(trusting, token).status_code == 200
    trusting.admin.patch(f"/v1/tenants/{tenant.id}", json={"suspended": True})
    answer = ask(trusting, token)
    assert answer.status_code == 403
    assert error_of(answer)["code"] == "tenant_suspended"


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_forged_tokens_are_refused(trusting: Gateway, issuer: Issuer, someone: Tenant) -> None:
    claims = issuer.claims(**{CLAIM: someone.id})
    for none in ("none", "None", "NONE", ""):
        forged = f"{part({'alg': none, 'kid': 'rsa'})}.{part(claims)}."
        assert "signed with" in refusal(trusting, forged)

    # The public key taken for a shared secret: who knows it, as all do, could sign.
    for secret in (issuer.pem("rsa"), json.dumps(issuer.published["rsa"]).encode()):
        signed = f"{part({'alg': 'HS256', 'kid': 'rsa', 'typ': 'JWT'})}.{part(claims)}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        assert "'HS256'" in refusal(trusting, forged)

    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(claims, stranger, "RS256", headers={"kid": "rsa"})
    assert "signature is wrong" in refusal(trusting, forged)
    # A key that the token brings with it is nobody's.
    for extra in ({"jwk": issuer.published["ec"]}, {"jku": "http://127.0.0.1:1/keys"}):
        forged = jwt.encode(claims, stranger, "RS256", headers={"kid": "rsa", **extra})
        assert "signature is wrong" in refusal(trusting, forged)

    head, body, signature = issuer.token(**{CLAIM: someone.id}).split(".")
    other = part(issuer.claims(**{CLAIM: someone.id, "scope": "admin"}))
    assert "signature is wrong" in refusal(trusting, f"{head}.{other}.{signature}")
    assert "signature is wrong" in refusal(trusting, f"{head}.{body}.")
    # A key of one kind under an algorithm of another.
    forged = f"{part({'alg': 'ES256', 'kid': 'rsa'})}.{body}.{signature}"
    assert "does not have" in refusal(trusting, forged)


def test_another_issuers_token_is_an_unknown_key(trusting: Gateway, issuer: Issuer) -> None:
    asked = issuer.asked
    assert "Incorrect API key" in refusal(trusting, issuer.token(iss="https://elsewhere.example"))
    for junk in ("a.b.c", "..", part({"alg": "RS256"}) + ".e30.x", "[" * 3000 + "..", "é.é.é"):
        answer = httpx.get(
            f"{trusting.url}/v1/models", headers={b"authorization": f"Bearer {junk}".encode()}
        )
        assert answer.status_code == 401
    assert issuer.asked == asked


def verifying(issuer: Issuer, scenario: Callable[..., Any], tmp_path: Path) -> None:
    """Run `scenario(verify, clock)` with a verifier whose clock for the issuer's keys is a list."""

    async def run() -> None:
        clock = [1000.0]
        async with IssuerKeys(issuer.url, clock=lambda: clock[0]) as keys:
            settings = Settings(home=tmp_path, oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
            verifier = TokenVerifier(settings, keys)
            await scenario(verifier.verify, clock)

    asyncio.run(run())


@pytest.fixture
def own_issuer() -> Iterator[Issuer]:
    """An issuer of this test's own."""
    made = Issuer()
    yield made
    made.stop()


def test_a_new_key_is_found_and_a_withdrawn_one_stops(own_issuer: Issuer, tmp_path: Path) -> None:
    issuer = own_issuer

    async def scenario(verify: Callable[[str], Any], clock: list[float]) -> None:
        assert (await verify(issuer.token(**{CLAIM: "a"}))).tenant == "a"
        issuer.add("next", ec.generate_private_key(ec.SECP256R1()))
        new = issuer.token("next", "ES256", **{CLAIM: "b"})
        asked = issuer.asked
        for _ in range(5):  # however many tokens come, the issuer is not asked again yet
            with pytest.raises(NotAuthenticated, match="does not have"):
                await verify(new)
        assert issuer.asked == asked
        clock[0] += issuer_module.RETRY_SECONDS + 1
        assert (await verify(new)).tenant == "b"
        del issuer.published["rsa"]
        clock[0] += issuer_module.FRESH_SECONDS + 1
        with pytest.raises(NotAuthenticated, match="does not have"):
            await verify(issuer.token(**{CLAIM: "c"}))

    verifying(issuer, scenario, tmp_path)


def test_an_issuer_that_is_away_is_not_the_callers_fault(
    own_issuer: Issuer, tmp_path: Path
) -> None:
    issuer = own_issuer

    async def scenario(verify: Callable[[str], Any], clock: list[float]) -> None:
        issuer.answering = False
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await verify(issuer.token(**{CLAIM: "a"}))
            assert 1 <= caught.value.retry_after <= issuer_module.RETRY_SECONDS
        issuer.answering = True
        clock[0] += issuer_module.RETRY_SECONDS + 1
        await verify(issuer.token(**{CLAIM: "b"}))
        issuer.answering = False
        clock[0] += issuer_module.FRESH_SECONDS + 1  # known keys go on to count, for a day
        await verify(issuer.token(**{CLAIM: "c"}))
        clock[0] += issuer_module.KEPT_SECONDS
        with pytest.raises(Unavailable):
            await verify(issuer.token(**{CLAIM: "d"}))

    verifying(issuer, scenario, tmp_path)


def test_a_document_of_another_issuer_is_not_believed(own_issuer: Issuer, tmp_path: Path) -> None:
    own_issuer.claims_to_be = "https://elsewhere.example"

    async def scenario(verify: Callable[[str], Any], _: list[float]) -> None:
        with pytest.raises(Unavailable, match=r"elsewhere\.example"):
            await verify(own_issuer.token(**{CLAIM: "a"}))

    verifying(own_issuer, scenario, tmp_path)


def test_an_unreachable_issuer_is_answered_503(
    trusting: Gateway, tmp_path: Path, shared_engine: FakeEngine, own_issuer: Issuer
) -> None:
    gateway = Gateway(
        settings_for(tmp_path, shared_engine, oidc_issuer=own_issuer.url, oidc_audience=AUDIENCE)
    )
    try:
        own_issuer.answering = False
        answer = ask(gateway, own_issuer.token(**{CLAIM: "a"}))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert error_of(answer)["code"] == "issuer_unavailable"
        assert gateway.tenant().http.get("/v1/models").status_code == 200  # keys still open
    finally:
        gateway.stop()


@given(st.lists(st.text(max_size=80), min_size=2, max_size=2, unique=True))
def test_subjects_have_ids_of_their_own_that_fit(subjects: list[str]) -> None:
    ids = [Token.key_id_of(subject) for subject in subjects]
    assert ids[0] != ids[1]
    for made in ids:
        assert made.startswith("oidc:")
        assert len(made) <= 64
        assert made.isascii()
        assert made.isprintable()


def test_an_issuer_needs_an_audience(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="oidc_issuer needs oidc_audience"):
        Settings(home=tmp_path, oidc_issuer="https://issuer.example")
