"""Bearer tokens of an OIDC issuer, verified by PyJWT: whom they name and what they allow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import jwt

from tunesmith.gateway.keys.issuer import ALGORITHMS, IssuerKeys
from tunesmith.platform.domain.errors import NotAuthenticated
from tunesmith.platform.settings import Settings
from tunesmith.platform.tenants import INFERENCE, SCOPES

LEEWAY_SECONDS: Final = 30
"""How far the issuer's clock may be from ours."""

MAX_TOKEN: Final = 8192
_REQUIRED: Final = ["exp", "iss", "aud", "sub"]
_MAX_KEY_ID: Final = 64

VERIFIED_SECONDS: Final = 1.0
"""How long a signature that was found good is not checked again."""

_MAX_VERIFIED: Final = 1_000


@dataclass(frozen=True)
class Token:
    """What a verified token says.

    Attributes:
        key_id: stands for its subject where a key's id would: `oidc:SUBJECT`, at most 64 long.
        tenant: id, name or slug of the tenant.
        expires_at: when it counts no more, leeway included.
    """

    key_id: str
    tenant: str
    scopes: frozenset[str]
    expires_at: float

    @staticmethod
    def key_id_of(subject: str) -> str:
        """The key id of a subject: its own, in printable ASCII, whatever the subject is."""
        plain = f"oidc:{subject}"
        fits = len(plain) <= _MAX_KEY_ID and plain.isascii() and plain.isprintable()
        if fits and "~" not in plain:
            return plain
        digest = hashlib.sha256(subject.encode(errors="surrogatepass")).hexdigest()[:32]
        beginning = "".join(c for c in subject if c.isascii() and c.isprintable())
        return f"oidc:{beginning[: _MAX_KEY_ID - 38]}~{digest}"


class TokenVerifier:
    """Verifies the tokens of the issuer that the settings name."""

    def __init__(self, settings: Settings, keys: IssuerKeys) -> None:
        assert settings.oidc_issuer is not None, "there is an issuer"
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._tenant_claim = settings.oidc_tenant_claim
        self._scopes_claim = settings.oidc_scopes_claim
        self._keys = keys
        self._verified: dict[str, tuple[float, Token]] = {}

    def is_ours(self, bearer: str) -> bool:
        """Whether `bearer` has the form of a token and says that it is of our issuer."""
        if bearer in self._verified:
            return True
        if bearer.count(".") != 2 or len(bearer) > MAX_TOKEN:
            return False
        try:
            said = jwt.decode(bearer, options={"verify_signature": False})
        except (jwt.PyJWTError, RecursionError):
            return False
        return bool(said.get("iss") == self._issuer)

    async def verify(self, bearer: str) -> Token:
        """What the token says, within its time; one that was verified may have expired since.

        Raises:
            NotAuthenticated: it is not signed by the issuer, not for us, not valid now, or lacks
                a claim.
            Unavailable: the issuer's keys are needed and cannot be had.
        """
        kept = self._verified.pop(bearer, None)
        if kept is None or kept[0] < monotonic():
            kept = (monotonic() + VERIFIED_SECONDS, await self._verify(bearer))
        self._verified[bearer] = kept
        while len(self._verified) > _MAX_VERIFIED:
            del self._verified[next(iter(self._verified))]
        return kept[1]

    async def _verify(self, bearer: str) -> Token:
        try:
            header = jwt.get_unverified_header(bearer)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS:
                raise NotAuthenticated(
                    f"The bearer token is signed with {algorithm!r:.40}; those that count are"
                    f" {', '.join(ALGORITHMS)}."
                )
            key = await self._keys.find(kid, algorithm)
            claims = jwt.decode(
                bearer,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
            expires_at = float(int(claims["exp"])) + LEEWAY_SECONDS
        except jwt.PyJWTError as error:
            raise NotAuthenticated(_sentence(error)) from None
        except OverflowError:
            raise NotAuthenticated("The bearer token's times are no times.") from None
        return Token(
            Token.key_id_of(claims["sub"]), self._tenant(claims), self._scopes(claims), expires_at
        )

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        tenant = claims.get(self._tenant_claim)
        if not isinstance(tenant, str) or not tenant or not tenant.isprintable():
            raise NotAuthenticated(
                f"The bearer token does not say whose it is: its claim {self._tenant_claim!r} must"
                " be a tenant's id, name or slug."
            )
        return tenant

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        said = claims.get(self._scopes_claim)
        words = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
        # The claim `scope` is also for others: `openid`, `profile`.
        return SCOPES & {word for word in words if isinstance(word, str)} or frozenset({INFERENCE})


def _sentence(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "The bearer token has expired: get another."
        case jwt.InvalidAudienceError():
            return "The bearer token is for another audience (`aud`) than this platform."
        case jwt.ImmatureSignatureError():
            return "The bearer token is not valid yet (`nbf`, `iat`): compare the clocks."
        case jwt.MissingRequiredClaimError():
            return f"The bearer token lacks the claim `{error.claim}`."
        case jwt.InvalidSignatureError():
            return "The bearer token's signature is wrong."
        case _:
            return f"The bearer token is not valid: {error}."
