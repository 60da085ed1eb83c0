"""The device list: which modalities, workstations and archives may associate, and how they prove it."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from node.audit.record import Deed, Event
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import (
    MalformedIdentifier,
    Rejected,
    Unauthenticated,
    UnknownCaller,
    UnknownDestination,
    UnknownDevice,
)
from node.domain.ids import AETitle, SiteId
from node.domain.principal import DEVICE_ACTIONS, Action, Caller, Device, Kind, Knock, Principal
from node.identity.gate import Gate
from node.identity.refusals import Refusals

DEFAULT_PORT = 104
"""Where DICOM devices listen unless they say otherwise (PS3.8 9.1.1)."""


class Devices:
    """Recognises callers, and keeps the list that says whom."""

    def __init__(self, catalog: Catalog, site: SiteId) -> None:
        """The device list of a site."""
        self._catalog = catalog
        self._site = site
        self._refusals = Refusals(catalog)

    def recognise(self, caller: Caller, asked: str) -> Principal:
        """Who is calling; a stranger is remembered as pending.

        Args:
            caller: what the device shows of itself.
            asked: what it asked for, in words.

        Raises:
            Unauthenticated: it is not on the list, or calls from elsewhere or with another certificate.
        """
        with self._catalog.reading() as unit:
            device = unit.devices.find(caller.calling)
        if device is None:
            error = Unauthenticated(f"{caller.calling} is not on the device list")
            self._knocked(caller, asked, error)
            raise error
        try:
            self._check(caller, device)
        except Unauthenticated as error:
            self._refusals.note(**_turned_away(caller, error))
            raise
        return Principal(
            kind=Kind.DEVICE, name=device.ae_title, site=self._site, address=caller.address, may=device.may
        )

    def find(self, ae_title: AETitle) -> Device:
        """The device of that AE title.

        Raises:
            UnknownDestination: there is none.
        """
        with self._catalog.reading() as unit:
            device = unit.devices.find(ae_title)
        if device is None:
            raise UnknownDestination(ae_title)
        return device

    def all(self) -> Sequence[Device]:
        """All devices by AE title."""
        with self._catalog.reading() as unit:
            return unit.devices.all()

    def pending(self) -> Sequence[Knock]:
        """Strangers that asked for an association, the latest first."""
        with self._catalog.reading() as unit:
            return unit.devices.knocks()

    def version(self) -> int:
        """A number that changes when a certificate comes or goes."""
        return hash(tuple(self.certificates()))

    def certificates(self) -> list[str]:
        """Certificates of all devices that have one (PEM)."""
        return [device.certificate for device in self.all() if device.certificate]

    def add(self, principal: Principal, device: Device, *, replace: bool = False) -> None:
        """Put a device on the list.

        Raises:
            Rejected: one of that AE title is there and is not to be replaced, or the certificate is none.
        """
        Gate(self._catalog).demand(principal, Action.ADMINISTER)
        if device.certificate:
            fingerprint(device.certificate)

        def put(unit: Unit) -> None:
            if unit.devices.find(device.ae_title) and not replace:
                raise Rejected(f"{device.ae_title} is on the device list already; say --replace to change it")
            unit.devices.put(device)
            self._record(unit, principal, f"device {device.ae_title} may {','.join(sorted(device.may))}")

        self._catalog.perform(put)

    def remove(self, principal: Principal, ae_title: str) -> None:
        """Take a device off the list; its associations are refused from now on.

        Raises:
            UnknownDevice: it is not on the list.
        """
        Gate(self._catalog).demand(principal, Action.ADMINISTER)

        def remove(unit: Unit) -> None:
            if unit.devices.find(ae_title) is None:
                raise UnknownDevice(ae_title)
            unit.devices.remove(ae_title)
            self._record(unit, principal, f"device {ae_title} removed")

        self._catalog.perform(remove)

    def accept(
        self,
        principal: Principal,
        ae_title: str,
        *,
        port: int = DEFAULT_PORT,
        may: frozenset[Action] = DEVICE_ACTIONS,
    ) -> Device:
        """Put a stranger that knocked on the list, at the address it called from last.

        Raises:
            UnknownCaller: nobody of that AE title knocked.
            Rejected: its AE title is none that can be used.
        """
        knocks = [knock for knock in self.pending() if knock.ae_title == ae_title]
        if not knocks:
            raise UnknownCaller(ae_title)
        try:
            device = Device(ae_title=AETitle(ae_title), host=knocks[0].address, port=port, may=may)
        except MalformedIdentifier as error:
            raise Rejected(error.args[0]) from None
        self.add(principal, device)
        return device

    def _knocked(self, caller: Caller, asked: str, error: Unauthenticated) -> None:
        """Remember a stranger, and record that it was turned away."""
        due = self._refusals.due(**_turned_away(caller, error))

        def write(unit: Unit) -> None:
            unit.devices.knocked(caller.calling, caller.address, called=caller.called[:16], asked=asked[:500])
            for deed in due:
                unit.audit.append(deed)

        self._catalog.perform(write)

    def _check(self, caller: Caller, device: Device) -> None:
        """What the device shows has to agree with what the list says of it."""
        if device.certificate is not None:
            if caller.certificate != fingerprint(device.certificate):
                raise Unauthenticated(f"{caller.calling} did not show the certificate that it was added with")
        elif caller.address not in addresses(device.host):
            raise Unauthenticated(f"{caller.calling} called from {caller.address}, not from {device.host}")

    def _record(self, unit: Unit, principal: Principal, what: str) -> None:
        unit.audit.append(
            Deed(event=Event.CONFIGURED, who=str(principal), address=principal.address, what=what)
        )


def _turned_away(caller: Caller, error: Unauthenticated) -> dict[str, str]:
    """A refused association in the words of the audit record."""
    return {"who": caller.calling, "address": caller.address, "what": "associate", "reason": str(error)}


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate (DER), in hexadecimal.

    Raises:
        Rejected: the text is no PEM certificate.
    """
    try:
        return x509.load_pem_x509_certificate(pem.encode()).fingerprint(SHA256()).hex()
    except ValueError:
        raise Rejected("the file holds no PEM certificate") from None


def addresses(host: str) -> frozenset[str]:
    """IP addresses of a host; a name that cannot be resolved has none."""
    try:
        return frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return frozenset()
