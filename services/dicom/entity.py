"""The application entity: what it answers, the doors at which it listens, start and stop."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from pydicom.uid import UID
from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity as Stock

from node.archive.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.domain.errors import BadSetting, PortTaken
from node.domain.ids import AETitle
from node.settings.sections import DicomSettings
from services.dicom import pump
from services.dicom.callers import Callers, Recognises, Seats
from services.dicom.door import Door, House
from services.dicom.messages import Field
from services.dicom.secure import Certificates, Contexts
from services.dicom.user_identity import Knows, Nobody

GRACE: Final = 10.0
"""Seconds for requests that are being served when the entity stops."""


POLL: Final = 0.1
"""Seconds after which an accepting thread notices that its door is to be closed."""

ALWAYS: Final[Mapping[int, pump.Handler]] = MappingProxyType(
    {Field.C_CANCEL_RQ: pump.ignore, Field.N_EVENT_REPORT_RQ: pump.refuse}
)
"""What is served whatever an entity is for."""


class Devices(Recognises, Certificates, Protocol):
    """What the entity needs of the list of devices."""


class ApplicationEntity:
    """Listens on the plain and the TLS port and serves what known devices ask."""

    def __init__(
        self,
        settings: DicomSettings,
        devices: Devices,
        handlers: Mapping[int, pump.Handler],
        federated: Mapping[int, pump.Handler] = MappingProxyType({}),
        *,
        persons: Knows | None = None,
        person_ca: Path | None = None,
    ) -> None:
        """Assemble an entity that does not listen yet.

        Args:
            settings: names, ports, limits and time-outs.
            devices: who may associate.
            handlers: what serves each command field; C-ECHO needs none.
            federated: what serves those command fields otherwise that it has, where an association calls
                the title of the federation.
            persons: who knows the persons at devices; nobody, if None.
            person_ca: authorities of persons, whose certificates the TLS port takes, too.
        """
        seats = Seats(settings.max_associations, settings.max_associations_per_device)
        self._settings = settings
        self._devices = devices
        self._person_ca = person_ca
        self._house = House(
            settings=settings,
            callers=Callers(titles(settings), devices, seats, persons or Nobody()),
            handlers={**ALWAYS, **handlers},
            federated={**ALWAYS, **handlers, **federated},
            stock=_stock(settings),
        )
        self._doors: list[Door] = []

    def start(self) -> None:
        """Open the doors; when this returns, they accept connections.

        Raises:
            PortTaken: somebody else listens on one of the ports.
            BadSetting: it may not listen there, or the certificate cannot be used.
        """
        pump.install()
        _config.LOG_HANDLER_LEVEL = "none"
        try:
            self._open(self._settings.port, None)
            if self._settings.tls_port is not None:
                self._open(self._settings.tls_port, self._tls())
        except BaseException:
            self.stop(grace=0)
            raise

    def stop(self, grace: float = GRACE) -> None:
        """Close the doors; let running requests finish for so long, then hang up."""
        deadline = time.monotonic() + grace
        for door in self._doors:
            door.close()
        for door in self._doors:
            door.dismiss()
        for door in self._doors:
            door.empty(deadline)
        self._doors.clear()

    @property
    def ports(self) -> list[int]:
        """The ports of the open doors: the plain one first."""
        return [int(door.server_address[1]) for door in self._doors]

    def _open(self, port: int, tls: Contexts | None) -> None:
        """Listen on one port, in a thread of its own."""
        try:
            door = Door(self._house, (_numeric(self._settings.host), port), tls)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(port) from error
            raise BadSetting("dicom.port", port, error.strerror) from error
        self._doors.append(door)
        threading.Thread(target=door.serve_forever, args=(POLL,), name=f"door-{port}", daemon=True).start()

    def _tls(self) -> Contexts:
        """What the TLS door shows and trusts; read once now, so that a bad file stops the start."""
        settings = self._settings
        contexts = Contexts(
            self._devices,
            certificate=settings.certificate,
            private_key=settings.private_key,
            authorities=[path for path in (settings.device_ca, self._person_ca) if path is not None],
        )
        try:
            contexts.current()
        except (OSError, ssl.SSLError) as error:
            raise BadSetting(
                "dicom.certificate", settings.certificate, "TLS cannot use it with its key"
            ) from error
        return contexts


def titles(settings: DicomSettings) -> list[AETitle]:
    """The AE titles by which devices may call this node."""
    return [title for title in (settings.ae_title, settings.federation_ae_title) if title is not None]


def _stock(settings: DicomSettings) -> Stock:
    """The application entity of pynetdicom, which negotiates for us."""
    stock = Stock(settings.ae_title)
    stock.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    stock.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    stock.maximum_pdu_size = settings.max_pdu
    stock.acse_timeout = settings.acse_timeout
    stock.network_timeout = settings.idle_timeout
    stock.dimse_timeout = settings.read_timeout
    return stock


def _numeric(host: str) -> str:
    """The address of a host name."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return str(found[0][4][0])
