"""Whose tokens are believed: issuers with their keys, as a file of the site says.

```
[[issuer]]
name = "https://login.hospital.example/"     # what the tokens call their issuer (`iss`)
audience = "konzilium-brno"                  # what they call this site (`aud`)
keys = "login.jwks.json"                     # its public keys (RFC 7517), beside this file
scopes = ["hospital.example"]                # for whose people it speaks: what is behind the @ of a name
claim = "eduperson_principal_name"           # where the name is; `sub` if nothing else is said
minutes = 60                                 # the longest life of a token
```
"""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from node.domain.errors import BadSetting

log = logging.getLogger(__name__)

SETTING: Final = "login.tokens"
LONGEST_FILE: Final = 1 << 20
LONGEST_LIFE: Final = 1440
"""Minutes that a token may live."""
SHORTEST_RSA: Final = 2048
ALGORITHMS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = MappingProxyType(
    {
        ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        ("EC", "P-256"): ("ES256",),
        ("EC", "P-384"): ("ES384",),
        ("EC", "P-521"): ("ES512",),
        ("OKP", "Ed25519"): ("EdDSA",),
    }
)
"""Signatures by kind and curve of the key (RFC 7518 3.1, RFC 8037); none with a shared secret."""
_FIELDS: Final[Mapping[str, type]] = MappingProxyType(
    {"name": str, "audience": str, "keys": str, "scopes": list, "claim": str, "minutes": int}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key of an issuer, and the signatures that are made with it."""

    id: str
    key: PyJWK
    algorithms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """Somebody whose tokens are believed."""

    name: str
    audience: str
    keys: Path
    scopes: tuple[str, ...]
    claim: str = "sub"
    minutes: int = 60

    def speaks_for(self, name: str) -> bool:
        """Whether it may vouch for a person of that name: one without a scope is its own affair."""
        _, at, scope = name.rpartition("@")
        return not at or scope.lower() in self.scopes


class KeyFile:
    """The keys in a file, read again when it changes; what was good stays where it cannot be read."""

    def __init__(self, path: Path) -> None:
        """The keys of an issuer.

        Raises:
            BadSetting: the file holds none.
        """
        self._path = path
        self._seen: tuple[int, int] = (0, 0)
        self._keys: tuple[Key, ...] = ()
        self._read()

    def now(self) -> tuple[Key, ...]:
        """The keys that are good now."""
        try:
            self._read()
        except BadSetting as error:
            log.warning("keys of a token issuer cannot be read", extra={"error": str(error)})
        return self._keys

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            if stat.st_size > LONGEST_FILE:
                raise BadSetting(SETTING, self._path, f"is longer than {LONGEST_FILE} bytes")
            self._keys = _keys_in(self._path, self._path.read_bytes())
            self._seen = seen
        except OSError as error:
            raise BadSetting(SETTING, self._path, f"cannot be read ({error.strerror})") from None


def read_issuers(path: Path) -> tuple[TokenIssuer, ...]:
    """The issuers in a file of the site.

    Raises:
        BadSetting: it is not understood; the error says what is wrong.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadSetting(SETTING, path, f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise BadSetting(SETTING, path, f"is not TOML: {error}") from None
    given = tables.pop("issuer", [])
    if tables or not isinstance(given, list) or not given:
        raise BadSetting(SETTING, path, "has to hold [[issuer]] tables, and nothing else")
    issuers = tuple(_issuer(path, table) for table in given)
    if len({one.name for one in issuers}) != len(issuers):
        raise BadSetting(SETTING, path, "names an issuer twice")
    return issuers


def _issuer(path: Path, table: object) -> TokenIssuer:
    if not isinstance(table, dict) or table.keys() - _FIELDS.keys():
        raise BadSetting(SETTING, path, f"an issuer has {', '.join(_FIELDS)}, and nothing else")
    for name, kind in _FIELDS.items():
        if name in table and (not isinstance(table[name], kind) or isinstance(table[name], bool)):
            raise BadSetting(SETTING, path, f"{name} of an issuer is not of the right kind")
    if missing := {"name", "audience", "keys", "scopes"} - {
        name for name, value in table.items() if value != ""
    }:
        raise BadSetting(SETTING, path, f"an issuer has no {', '.join(sorted(missing))}")
    if not all(isinstance(scope, str) and scope for scope in table["scopes"]):
        raise BadSetting(SETTING, path, "scopes of an issuer are domains")
    if not 0 < table.get("minutes", 60) <= LONGEST_LIFE:
        raise BadSetting(SETTING, path, f"minutes of an issuer are 1 to {LONGEST_LIFE}")
    return TokenIssuer(
        name=table["name"],
        audience=table["audience"],
        keys=path.parent / table["keys"],
        scopes=tuple(scope.lower() for scope in table["scopes"]),
        claim=table.get("claim") or "sub",
        minutes=table.get("minutes", 60),
    )


def _keys_in(path: Path, data: bytes) -> tuple[Key, ...]:
    """The keys of a JWK Set that are for signatures (RFC 7517 5).

    Raises:
        BadSetting: there is none, or one that must not be there.
    """
    try:
        told = json.loads(data)["keys"]
        keys = [_key(path, one) for one in told if one.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PyJWTError):
        raise BadSetting(SETTING, path, "is no set of public keys (RFC 7517)") from None
    if not keys or len({one.id for one in keys}) != len(keys):
        raise BadSetting(SETTING, path, "holds no key for signatures, or two of one name")
    return tuple(keys)


def _key(path: Path, told: Mapping[str, Any]) -> Key:
    kind = (told["kty"], told.get("crv", ""))
    able = ALGORITHMS.get(kind)
    if able is None:
        raise BadSetting(
            SETTING, path, f"holds a key of the kind {kind[0]}, which is not used for tokens here"
        )
    if "d" in told:
        raise BadSetting(SETTING, path, "holds a private key; only public ones belong there")
    algorithms = tuple(one for one in able if told.get("alg", one) == one)
    if not algorithms:
        raise BadSetting(SETTING, path, f"holds a key for {told['alg']}, which is not used for tokens here")
    key = PyJWK(dict(told), algorithm=algorithms[0])
    if kind[0] == "RSA" and key.key.key_size < SHORTEST_RSA:
        raise BadSetting(SETTING, path, f"holds an RSA key of less than {SHORTEST_RSA} bits")
    return Key(id=str(told.get("kid", "")), key=key, algorithms=algorithms)
