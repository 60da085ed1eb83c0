"""Persons at devices: what an association shows of who sits there, and what becomes of it (PS3.7 D.3.3.7).

```
nothing shown ──────────────▶ the device, unless it has to name somebody
anything, where it is said to be ignored ─▶ the device
a name alone ───────────────▶ the person, at a device that is trusted to name its people
name and passcode ──────────▶ a local account
an assertion, a token ──────▶ whom the issuer names, at the first device that shows it
a certificate in TLS ───────▶ whom the authority names, where nothing else is shown
anything else ──────────────▶ refused
```

Every login at a device is recorded, and so is every refusal.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from threading import Lock
from typing import Final, Protocol

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import (
    LoginRefused,
    NodeError,
    Replayed,
    SecondFactorNeeded,
    Unauthenticated,
    Unavailable,
)
from node.domain.principal import Naming, Principal
from node.identity.persons import of_account, person

BEARERS: Final = 10_000
"""Assertions and tokens of which it is remembered which device has shown them."""
LONGEST_FIELD: Final = 1024
"""Bytes of a name or a passcode."""


class Proof(IntEnum):
    """What a device shows of a person (User-Identity-Type, PS3.7 table D.3-14)."""

    NAME = 1
    PASSCODE = 2
    KERBEROS = 3
    ASSERTION = 4
    TOKEN = 5


WORDS: Final[Mapping[int, str]] = {
    Proof.NAME: "name",
    Proof.PASSCODE: "name and passcode",
    Proof.KERBEROS: "Kerberos ticket",
    Proof.ASSERTION: "SAML assertion",
    Proof.TOKEN: "JSON web token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an association shows of a person."""

    kind: int = 0
    """A `Proof`, or what nobody knows; 0 where nothing was shown in the request itself."""
    primary: bytes = b""
    secondary: bytes = b""
    secure: bool = False
    """Whether nobody on the way could read it."""
    certificate: bytes | None = None
    """The client certificate of the connection (DER)."""


class ByPasscode(Protocol):
    """The door of local accounts."""

    def at_device(self, name: str, passcode: str, *, device: str, address: str) -> Principal:
        """Whose account it is."""
        ...


class ByCertificate(Protocol):
    """The door of certificates."""

    def is_one(self, der: bytes) -> bool:
        """Whether it is one of a person."""
        ...

    def person(self, der: bytes) -> Principal:
        """Whom it names."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """The doors by which persons come in, as far as this site has them."""

    accounts: ByPasscode | None = None
    tokens: Callable[[bytes], Principal] | None = None
    assertions: Callable[[bytes], Principal] | None = None
    certificates: ByCertificate | None = None
    plain: bool = False
    """Whether secrets are taken where others can read them."""
    mfa: bool = False
    """Whether every login has to prove a second factor."""


class AtDevices:
    """Knows the persons at devices."""

    def __init__(self, catalog: Catalog, proofs: Proofs) -> None:
        """The persons at the devices of a site."""
        self._catalog = catalog
        self._proofs = proofs
        self._bearers: OrderedDict[bytes, str] = OrderedDict()
        self._lock = Lock()

    def who(self, device: Principal, shown: Shown) -> Principal:
        """Who asks: the person who sits at a device, or the device itself.

        Args:
            device: as the list of devices knows it.
            shown: what the association shows of a person.

        Raises:
            Unauthenticated: what is shown is not right, or a person is missing; the record says why.
            TooBusy: too many others log in.
        """
        try:
            found = self._person(device, shown)
            self._demand_factor(found)
        except Unavailable:
            raise
        except NodeError as error:
            self._record_refusal(device, shown, error)
            raise error if isinstance(error, Unauthenticated) else LoginRefused(str(error)) from error
        if found is None:
            return device
        at = replace(found, site=device.site, address=device.address, device=device.name, may=device.may)
        what = f"{device.name}: {_words(shown)}"
        self._catalog.perform(lambda unit: unit.audit.append(deed_of(at, Event.LOGIN, what=what)))
        return at

    def _person(self, device: Principal, shown: Shown) -> Principal | None:
        """The person, if one is shown and proved; None for the device itself."""
        naming = self._naming(device)
        certificates = self._proofs.certificates
        if naming is Naming.IGNORED:
            return None
        if shown.kind:
            return self._proved(device, shown, naming)
        if shown.certificate and certificates and certificates.is_one(shown.certificate):
            return certificates.person(shown.certificate)
        if naming is Naming.REQUIRED:
            raise LoginRefused(f"{device.name} has to say which person sits at it, and said nothing")
        return None

    def _demand_factor(self, found: Principal | None) -> None:
        if self._proofs.mfa and found is not None and not found.mfa:
            raise SecondFactorNeeded("every login at this site has to prove one (login.mfa)")

    def _naming(self, device: Principal) -> Naming:
        with self._catalog.reading() as unit:
            known = unit.devices.find(device.name)
        if known is None:
            raise Unauthenticated(f"{device.name} is not on the device list")
        return known.people

    def _proved(self, device: Principal, shown: Shown, naming: Naming) -> Principal:
        """The person whom the request for the association names."""
        if shown.kind == Proof.NAME:
            return _named(device, shown.primary, naming)
        if not shown.secure and not self._proofs.plain:
            raise LoginRefused(
                "proofs of persons are taken over TLS only; login.plain in site.toml allows it without"
            )
        proofs = self._proofs
        if shown.kind == Proof.PASSCODE and proofs.accounts:
            name, passcode = _text(shown.primary), _text(shown.secondary)
            return proofs.accounts.at_device(name, passcode, device=device.name, address=device.address)
        doors: Mapping[int, Callable[[bytes], Principal] | None] = {
            Proof.ASSERTION: proofs.assertions,
            Proof.TOKEN: proofs.tokens,
        }
        door = doors.get(shown.kind)
        if door is None:
            raise LoginRefused(f"a person cannot be proved here by {_words(shown)}")
        found = door(shown.primary)
        self._hold(device, shown.primary)
        return found

    def _hold(self, device: Principal, bearer: bytes) -> None:
        """See that what can be carried about is shown by one device only: the first."""
        key, here = hashlib.sha256(bearer).digest(), f"{device.name} {device.address}"
        with self._lock:
            holder = self._bearers.setdefault(key, here)
            self._bearers.move_to_end(key)
            if len(self._bearers) > BEARERS:
                self._bearers.popitem(last=False)
        if holder != here:
            raise Replayed("another device has shown the same proof of a person before")

    def _record_refusal(self, device: Principal, shown: Shown, error: NodeError) -> None:
        what, reason = f"{device.name}: {_words(shown)}", str(error)

        def write(unit: Unit) -> None:
            account = unit.accounts.find(_claimed(shown))
            who = of_account(account.name, device.site) if account else device
            at = replace(who, address=device.address, device=device.name)
            unit.audit.append(replace(deed_of(at, Event.LOGIN, what=what, reason=reason), refused=True))

        self._catalog.perform(write)


def _claimed(shown: Shown) -> str:
    """The account that somebody tried to use, as its book writes it."""
    is_account = shown.kind == Proof.PASSCODE and len(shown.primary) <= LONGEST_FIELD
    return shown.primary.decode(errors="replace").strip().lower() if is_account else ""


def _named(device: Principal, name: bytes, naming: Naming) -> Principal:
    """A person who is named without a proof; roles are granted to the issuer `device:` and its AE title."""
    if naming is not Naming.TRUSTED:
        raise LoginRefused(f"{device.name} named a person without a proof, and is not trusted to do so")
    text = _text(name)
    full = text if "@" in text else f"{text}@{device.site}"
    return person(issuer=f"device:{device.name}", name=full, site=device.site)


def _text(field: bytes) -> str:
    """A name or passcode: UTF-8 (PS3.7 table D.3-14), some pad it to an even length."""
    if len(field) > LONGEST_FIELD:
        raise LoginRefused("the name or the passcode is too long")
    try:
        return field.decode().rstrip("\0")
    except UnicodeDecodeError:
        raise LoginRefused("the name or the passcode is no UTF-8 text") from None


def _proof(kind: int) -> Proof | None:
    return Proof(kind) if kind in WORDS else None


def _words(shown: Shown) -> str:
    """What was shown, in words."""
    proof = _proof(shown.kind)
    if proof is not None:
        return WORDS[proof]
    if shown.kind:
        return f"identity of the unknown kind {shown.kind}"
    return "certificate" if shown.certificate else "no identity"
