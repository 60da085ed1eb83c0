"""The second factor of local accounts: codes that follow from a secret and the time (RFC 6238)."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP: Final = 30
"""Seconds for which a code is shown."""
DIGITS: Final = 6
LATE: Final = 1
"""Steps that a clock may be early or late."""
_SECRET_BYTES: Final = 20
_CODE: Final = re.compile(rf"[0-9]{{{DIGITS}}}")


def new_secret() -> str:
    """A secret for an authenticator, in base 32 (RFC 4226 4, R6)."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def address(secret: str, account: str, site: str) -> str:
    """What an authenticator reads from a code of bars: `otpauth://totp/...`."""
    return _totp(secret).get_provisioning_uri(f"{account}@{site}", f"konzilium-{site}")


def code_at(secret: str, now: int) -> str:
    """The code at a time in microseconds."""
    return _totp(secret).generate(now // 1_000_000).decode()


def step_of(secret: str, code: str, now: int, *, used: int) -> int | None:
    """The step of time whose code this is.

    Args:
        secret: of the authenticator.
        code: as it was typed; blanks do not matter.
        now: microseconds since 1970.
        used: the last step whose code was used; no earlier one is good any more.

    Returns:
        None if it is the code of no step that is good.
    """
    plain = "".join(code.split())
    if not _CODE.fullmatch(plain):
        return None
    fits = [
        step for step in _around(now) if hmac.compare_digest(plain, code_at(secret, step * STEP * 1_000_000))
    ]
    return next((step for step in fits if step > used), None)


def _around(now: int) -> Iterator[int]:
    here = now // 1_000_000 // STEP
    yield from range(here - LATE, here + LATE + 1)


def _totp(secret: str) -> TOTP:
    return TOTP(base64.b32decode(secret), DIGITS, SHA1(), STEP)  # noqa: S303
