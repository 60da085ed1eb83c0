"""Passwords: which are good enough, and how they are kept (NIST SP 800-63B 3.1.1, RFC 9106)."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from node.domain.errors import PasswordRefused, TooBusy

SHORTEST: Final = 12
LONGEST: Final = 256
"""Characters of a password."""
STRENGTH: Final = 3
"""Of the five grades of zxcvbn (0 to 4) the least: more than 10^8 guesses."""
JUDGED: Final = 72
"""Characters that are judged; what comes behind makes a password only better."""
AT_ONCE: Final = 2
"""Hashes at once: each takes 19 MiB and a whole processor for a while."""
PATIENCE: Final = 10.0
"""Seconds to wait for a turn."""

_WORDS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_argon2 = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_turns = BoundedSemaphore(AT_ONCE)


def hashed(password: str) -> str:
    """What is kept of a password.

    Raises:
        TooBusy: too many others are being hashed.
    """
    with _turn():
        return _argon2.hash(_plain(password))


def matches(hash_: str, password: str) -> bool:
    """Whether it is the password that was hashed.

    Raises:
        TooBusy: too many others are being hashed.
    """
    if len(password) > LONGEST:
        return False
    with _turn():
        try:
            return _argon2.verify(hash_, _plain(password))
        except (VerificationError, InvalidHashError):
            return False


def waste(password: str) -> None:
    """Take as long as `matches` does, for a name that is not known, so that nobody can tell that."""
    matches(_nobody(), password)


def generated() -> str:
    """A password that a person can copy from paper: 99 bits."""
    return "-".join("".join(secrets.choice(_WORDS) for _ in range(5)) for _ in range(4))


def demand_good(password: str, *, about: Iterable[str] = ()) -> None:
    """See that a password is one that can be used.

    Args:
        password: as it was typed.
        about: what an attacker would try first: names of the person and of the site.

    Raises:
        PasswordRefused: it is too short, too long, or easily guessed; the error says what to do.
    """
    plain = _plain(password)
    if not SHORTEST <= len(plain) <= LONGEST:
        raise PasswordRefused(f"it has to have {SHORTEST} to {LONGEST} characters")
    if not plain.isprintable():
        raise PasswordRefused("it has control characters in it")
    if _grade(plain, about) < STRENGTH:
        raise PasswordRefused(
            "it is on lists of passwords that were published, or is too easily guessed; "
            "take several words that have nothing to do with each other"
        )


def _grade(password: str, about: Iterable[str]) -> int:
    """How hard it is to guess; the lists are loaded when they are needed first."""
    from zxcvbn import zxcvbn  # noqa: PLC0415

    known = [word for text in about for word in (text, *text.replace("@", " ").split()) if word]
    return int(zxcvbn(password[:JUDGED], user_inputs=known)["score"])


def _plain(password: str) -> str:
    """The same characters however the keyboard has put them together (NFKC, SP 800-63B 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


@contextmanager
def _turn() -> Iterator[None]:
    if not _turns.acquire(timeout=PATIENCE):
        raise TooBusy("passwords")
    try:
        yield
    finally:
        _turns.release()


@lru_cache(maxsize=1)
def _nobody() -> str:
    """The hash of a password that nobody has."""
    return _argon2.hash(secrets.token_urlsafe())
