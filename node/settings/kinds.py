"""Kinds of settings: what each may be, in words, and how its raw value is read and shown."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from node.domain.errors import MalformedIdentifier
from node.domain.ids import Identifier

Raw: TypeAlias = str | int | float | bool
"""A value as TOML writes it."""

MAX_ADDRESS: Final = 256
"""Characters of an address."""


class WrongValueError(ValueError):
    """What is wrong with a value, as the end of a sentence that begins with the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a setting may be.

    `read` turns the raw value into the node's own (given the site folder, which relative paths
    start from) and raises `WrongValueError`; `show` is its inverse for the default.
    """

    allowed: str
    raw: type[str] | type[int] | type[float] | type[bool]
    read: Callable[[Any, Path], object]
    show: Callable[[Any], Raw] = lambda value: value

    def parse(self, text: str) -> object:
        """Read the text of an environment variable as TOML would have given it."""
        try:
            return _SWITCH[text.strip().lower()] if self.raw is bool else self.raw(text.strip())
        except (ValueError, KeyError):
            raise WrongValueError(f"is not {self.allowed}") from None

    def accept(self, value: object, directory: Path) -> object:
        """Check the raw value and return the node's own.

        Raises:
            WrongValueError: it is of another type or outside of what is allowed.
        """
        fits = (int, float) if self.raw is float else self.raw
        if isinstance(value, bool) is not (self.raw is bool) or not isinstance(value, fits):
            raise WrongValueError(f"is not {self.allowed}")
        return self.read(value, directory)


LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Names of this machine for itself."""
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = re.compile(f"{_TIME}-{_TIME}")
_SWITCH = {"true": True, "false": False}


def setting(
    kind: Kind, explanation: str, derive: tuple[str, Callable[[str], Raw]] | None = None
) -> dict[str, object]:
    """The metadata of a dataclass field that is a setting: its kind and its line of explanation.

    `derive` names a default that follows from the site's name: in words, and as a function of it.
    """
    return {"kind": kind, "help": explanation, "derive": derive}


def identifier(form: type[Identifier]) -> Kind:
    """An identifier that `node.domain.ids` knows how to check."""

    def read(value: str, _: Path) -> object:
        try:
            return form(value)
        except MalformedIdentifier:
            raise WrongValueError(f"is not a valid {form.what}") from None

    return Kind(allowed=f"a valid {form.what}", raw=str, read=read, show=str)


def optional_identifier(form: type[Identifier]) -> Kind:
    """An identifier, or none."""
    inner = identifier(form)
    return Kind(
        allowed=f"{inner.allowed}, or empty for none",
        raw=str,
        read=lambda value, directory: inner.read(value, directory) if value.strip() else None,
        show=lambda value: str(value or ""),
    )


def text(what: str) -> Kind:
    """A text that is not empty."""

    def read(value: str, _: Path) -> object:
        if not value.strip():
            raise WrongValueError(f"is empty; it must be {what}")
        return value.strip()

    return Kind(allowed=what, raw=str, read=read)


def optional_text(what: str) -> Kind:
    """A text, or none."""
    return Kind(allowed=f"{what}, or empty for none", raw=str, read=lambda value, _: value.strip())


def mail_addresses(*, several: bool) -> Kind:
    """Mail addresses such as `pacs@hospital.example`, with commas between them; or none."""
    allowed = f"{'mail addresses with commas' if several else 'a mail address'}, or empty for none"

    def read(value: str, _: Path) -> object:
        found = tuple(part.strip() for part in value.split(",") if part.strip())
        if any(_MAIL.fullmatch(one) is None for one in found) or (len(found) > 1 and not several):
            raise WrongValueError(f"is {value!r}; it must be {allowed}")
        return found if several else next(iter(found), "")

    def show(value: Any) -> Raw:
        return ", ".join(value) if several else str(value)

    return Kind(allowed=allowed, raw=str, read=read, show=show)


def hook_address() -> Kind:
    """A web address to post to: by HTTPS, or without encryption on this machine alone."""
    allowed = "https://HOST/PATH (http:// for this machine alone), or empty for none"

    def read(value: str, _: Path) -> object:
        value = value.strip()
        if value and not is_hook_address(value):
            raise WrongValueError(f"is {value!r}; it must be {allowed}")
        return value

    return Kind(allowed=allowed, raw=str, read=read)


def is_hook_address(text: str) -> bool:
    """Whether notices may be posted there."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "<>')
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    return plain and secure and bool(parts.hostname) and port != 0 and not (parts.username or parts.fragment)


def one_of(*choices: str) -> Kind:
    """One word out of a few."""
    allowed = "one of " + ", ".join(choices)

    def read(value: str, _: Path) -> object:
        if value.lower() not in choices:
            raise WrongValueError(f"is not {allowed}")
        return value.lower()

    return Kind(allowed=allowed, raw=str, read=read)


def switch() -> Kind:
    """Yes or no."""
    return Kind(allowed="true or false", raw=bool, read=lambda value, _: value)


def web_address() -> Kind:
    """Where others reach a door by HTTPS: nothing for what follows from the machine, or `none`."""
    allowed = "https://HOST:PORT, or none, or empty for the name of this machine"

    def read(value: str, _: Path) -> object:
        value = value.strip().rstrip("/")
        if value and value.lower() != "none" and not is_web_address(value):
            raise WrongValueError(f"is {value!r}; it must be {allowed}")
        return value.lower() if value.lower() == "none" else value

    return Kind(allowed=allowed, raw=str, read=read)


def is_web_address(text: str) -> bool:
    """Whether the text is `https://HOST` or `https://HOST:PORT` and nothing more."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and len(text) <= MAX_ADDRESS and not set(text) & set(' "<>')
    return (
        plain
        and parts.scheme == "https"
        and bool(parts.hostname)
        and port != 0
        and not (parts.path or parts.query or parts.fragment or parts.username)
    )


def whole(low: int, high: int, unit: str = "") -> Kind:
    """A whole number between two others, both included."""
    allowed = f"a whole number{unit and ' of '}{unit} from {low} to {high}"

    def read(value: int, _: Path) -> object:
        if not low <= value <= high:
            raise WrongValueError(f"is {value}; it must be {allowed}")
        return value

    return Kind(allowed=allowed, raw=int, read=read)


def seconds(low: float, high: float) -> Kind:
    """A duration in seconds, fractions allowed."""
    return _duration("seconds", low, high)


def hours(low: float, high: float) -> Kind:
    """A duration in hours, fractions allowed."""
    return _duration("hours", low, high)


def days(low: float, high: float) -> Kind:
    """A duration in days, fractions allowed."""
    return _duration("days", low, high)


def minutes(low: float, high: float) -> Kind:
    """A duration in minutes, fractions allowed."""
    return _duration("minutes", low, high)


def day_hours() -> Kind:
    """Hours of the day, `18:00-06:00`; empty for all of them."""
    allowed = "hours of the day as 18:00-06:00, or empty"

    def read(value: str, _: Path) -> object:
        if value.strip() and _HOURS.fullmatch(value.strip()) is None:
            raise WrongValueError(f"is not {allowed}")
        return value.strip()

    return Kind(allowed=allowed, raw=str, read=read)


def _duration(unit: str, low: float, high: float) -> Kind:
    allowed = f"a number of {unit} from {low:g} to {high:g}"

    def read(value: float, _: Path) -> object:
        if not low <= value <= high:
            raise WrongValueError(f"is {value:g}; it must be {allowed}")
        return float(value)

    return Kind(allowed=allowed, raw=float, read=read)


def optional_port() -> Kind:
    """A TCP port, or 0 for a door that stays shut."""
    inner = whole(0, 65535)
    return Kind(
        allowed="a port from 1 to 65535, or 0 for no such door",
        raw=int,
        read=lambda value, directory: inner.read(value, directory) or None,
        show=lambda value: value or 0,
    )


def place(*, optional: bool = False) -> Kind:
    """A file or folder that the node makes itself."""
    allowed = "a path, relative to the site folder" + (", or empty for none" if optional else "")

    def read(value: str, directory: Path) -> object:
        if not value.strip() and not optional:
            raise WrongValueError("is empty; it must be a path")
        return directory / Path(value).expanduser() if value.strip() else None

    return Kind(allowed=allowed, raw=str, read=read, show=lambda value: str(value or ""))


def file_to_read(*, optional: bool = False, secret: bool = False) -> Kind:
    """A file that has to be there and readable; a secret one must not be readable for everybody."""
    allowed = "a file, relative to the site folder" + (", or empty for none" if optional else "")

    def read(value: str, directory: Path) -> object:
        if optional and not value.strip():
            return None
        path = directory / Path(value).expanduser()
        _check_readable(path)
        if secret and path.stat().st_mode & stat.S_IROTH:
            raise WrongValueError(f"names {path}, which everybody may read; take that away with `chmod o-r`")
        return path

    return Kind(allowed=allowed, raw=str, read=read, show=lambda value: str(value or ""))


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise WrongValueError(
            f"names {path}, which cannot be read ({(error.strerror or 'unknown').lower()})"
        ) from None
