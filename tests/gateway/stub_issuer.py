"""An OIDC issuer on a socket, with keys of its own that a test adds, withdraws and signs with."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "tunesmith"

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Issuer:
    """What it serves can be changed at any time; `asked` counts questions for its key set."""

    def __init__(self) -> None:
        self.private: dict[str, Private] = {}
        self.published: dict[str, dict[str, Any]] = {}
        self.asked = 0
        self.answering = True
        self.claims_to_be: str | None = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = issuer.documents().get(self.path) if issuer.answering else None
                self.send_response(500 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.add("rsa", rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def documents(self) -> dict[str, Any]:
        self.asked += 1
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.claims_to_be or self.url,
                "jwks_uri": f"{self.url}/keys",
            },
            "/keys": {"keys": list(self.published.values())},
        }

    def add(self, kid: str, key: Private, **more: Any) -> None:
        """Have a key, and publish its public half."""
        self.private[kid] = key
        if isinstance(key, rsa.RSAPrivateKey):
            public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self.published[kid] = {**public, "kid": kid, "use": "sig", **more}

    def pem(self, kid: str) -> bytes:
        """A key's public half, as an attacker finds it."""
        return (
            self.private[kid]
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token; a change to None takes one away."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
        }
        return {name: v for name, v in (claims | changes).items() if v is not None}

    def token(self, kid: str = "rsa", algorithm: str = "RS256", **changes: Any) -> str:
        """A token, signed with a key of its own."""
        return jwt.encode(
            self.claims(**changes), self.private[kid], algorithm, headers={"kid": kid}
        )
