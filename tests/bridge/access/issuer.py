"""An issuer of tokens for tests: keys, a JWK Set, tokens right and wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://login.example", "bridge"
_ALGORITHMS = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def private_key(algorithm: str) -> Any:
    if algorithm.startswith(("RS", "PS")):
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """Signs with one key at a time; ``keys`` are those that it publishes."""

    def __init__(self, algorithm: str = "ES256", key_id: str = "first") -> None:
        self.keys: list[dict[str, Any]] = []
        self.rotate(algorithm, key_id)

    def rotate(self, algorithm: str, key_id: str) -> None:
        self.algorithm, self.key_id = algorithm, key_id
        self.private = private_key(algorithm)
        public = json.loads(_ALGORITHMS[algorithm].to_jwk(self.private.public_key()))
        self.keys = [public | {"kid": key_id, "alg": algorithm, "use": "sig"}]

    @property
    def document(self) -> dict[str, Any]:
        return {"keys": self.keys}

    def token(self, subject: Any = "ann", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token; a claim that is None is left out."""
        now = int(time.time())
        payload = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "iat": now, "sub": subject} | claims
        payload = {name: value for name, value in payload.items() if value is not None}
        # PyJWT refuses to make some of the wrong ones.
        return jwt.PyJWS().encode(
            json.dumps(payload).encode(),
            self.private,
            algorithm=self.algorithm,
            headers={"kid": self.key_id, "typ": "JWT"} | (headers or {}),
        )
