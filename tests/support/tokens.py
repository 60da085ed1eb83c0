"""An issuer of tokens for tests: its keys as files, and tokens with one thing changed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.api_jws import PyJWS

ISSUER = "https://login.hospital-brno.test/"
AUDIENCE = "konzilium-brno"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    """The public part of a key, as a JWK."""
    algorithm = RSAAlgorithm if hasattr(key, "private_numbers") and key.key_size >= 1024 else ECAlgorithm
    told: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**told, "kid": kid, **more}


def write_issuer(folder: Path, *, keys: list[dict[str, Any]] | None = None, **more: object) -> Path:
    """A file with the issuer and its keys; returns its place."""
    folder.mkdir(exist_ok=True)
    told = keys if keys is not None else [jwk(RSA_KEY, "one"), jwk(EC_KEY, "two")]
    (folder / "login.jwks.json").write_text(json.dumps({"keys": told}))
    fields = {
        "name": ISSUER,
        "audience": AUDIENCE,
        "keys": "login.jwks.json",
        "scopes": ["hospital-brno.test"],
        "claim": "eduperson_principal_name",
        **more,
    }
    path = folder / "tokens.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if value is not None]
    path.write_text("\n".join(["[[issuer]]", *lines]) + "\n")
    return path


def claims(now: float | None = None, **changed: object) -> dict[str, object]:
    """What a good token says, with some of it changed; None takes a claim away."""
    now = time.time() if now is None else now
    told: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "4711",
        "iat": int(now),
        "exp": int(now) + 600,
        "eduperson_principal_name": "Jana@hospital-brno.test",
        "name": "Jana Test",
        **changed,
    }
    return {name: value for name, value in told.items() if value is not None}


def token(
    now: float | None = None,
    *,
    key: PrivateKeyTypes = RSA_KEY,
    algorithm: str = "RS256",
    header: Mapping[str, object] | None = None,
    **changed: object,
) -> bytes:
    """A signed token."""
    told = {"kid": "one"} if header is None else dict(header)
    body = json.dumps(claims(now, **changed)).encode()
    return PyJWS().encode(body, key, algorithm=algorithm, headers=told).encode()  # type: ignore[arg-type]


def forged(header: Mapping[str, object], body: Mapping[str, object], signature: bytes = b"none") -> bytes:
    """A token put together by hand."""
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), signature)
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
