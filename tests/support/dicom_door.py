"""An application entity over an archive and a device list in memory, and a peer over a bare socket."""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from node.domain.errors import NodeError, Unauthenticated
from node.domain.ids import AETitle, Digest, SiteId, StudyUID
from node.domain.instance import Admission, Chunk, Offer, Outcome
from node.domain.principal import Caller, Kind, Principal
from node.settings.sections import DicomSettings
from services.dicom import messages
from services.dicom.channel import Channel, Context, Limits, Message
from services.dicom.entity import ApplicationEntity
from services.dicom.messages import Field
from services.dicom.store import StoreHandler
from services.dicom.user_identity import Knows
from services.dicom.wire import Wire

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEVICE = Principal(kind=Kind.DEVICE, name="CT1", site=SiteId("brno"))


@dataclass(slots=True)
class MemoryArchive:
    """Keeps what it is offered; fails where it is told to."""

    kept: dict[str, bytes] = field(default_factory=dict)
    offers: list[Offer] = field(default_factory=list)
    failure: Exception | None = None
    after: int | None = None
    """Fail after so many chunks; at the end with None."""
    chunks: list[int] = field(default_factory=list)
    """Lengths of the chunks of the last instance."""
    hold: Callable[[], object] | None = None
    """Called before the answer."""

    def admit(self, principal: Principal, offer: Offer, chunks: Iterable[Chunk]) -> Admission:
        content = bytearray()
        self.chunks = []
        for number, chunk in enumerate(chunks):
            if self.failure and number == self.after:
                raise self.failure
            content += chunk
            self.chunks.append(len(chunk))
        if self.hold:
            self.hold()
        if self.failure:
            raise self.failure
        self.offers.append(offer)
        self.kept[str(offer.instance)] = bytes(content)
        digest = Digest(hashlib.sha256(content).hexdigest())
        return Admission(outcome=Outcome.KEPT, digest=digest, study=StudyUID("1.2"))


@dataclass(slots=True)
class MemoryDevices:
    """Knows devices by AE title."""

    known: set[str] = field(default_factory=lambda: {"CT1"})
    pems: list[str] = field(default_factory=list)
    failure: NodeError | None = None
    callers: list[tuple[Caller, str]] = field(default_factory=list)

    def recognise(self, caller: Caller, asked: str) -> Principal:
        self.callers.append((caller, asked))
        if self.failure:
            raise self.failure
        if caller.calling not in self.known:
            raise Unauthenticated(caller.calling)
        return replace(DEVICE, name=str(caller.calling), address=caller.address)

    def version(self) -> int:
        return len(self.pems)

    def certificates(self) -> list[str]:
        return list(self.pems)


SETTINGS = DicomSettings(
    ae_title=AETitle("KONZILIUM"),
    host="127.0.0.1",
    port=0,
    tls_port=None,
    certificate=Path("none"),
    private_key=Path("none"),
    read_timeout=5.0,
    acse_timeout=5.0,
)


@contextmanager
def serving(
    archive: MemoryArchive | None = None,
    devices: MemoryDevices | None = None,
    *,
    handlers: Mapping[int, Callable[[Message], None]] | None = None,
    federated: Mapping[int, Callable[[Message], None]] | None = None,
    persons: Knows | None = None,
    person_ca: Path | None = None,
    **changes: object,
) -> Iterator[ApplicationEntity]:
    """A started entity with C-STORE, which is stopped at the end."""
    table = {int(Field.C_STORE_RQ): StoreHandler(archive or MemoryArchive())} | dict(handlers or {})
    settings = replace(SETTINGS, **changes)
    entity = ApplicationEntity(
        settings,
        devices or MemoryDevices(),
        table,
        federated or {},
        persons=persons,
        person_ca=person_ca,
    )
    entity.start()
    try:
        yield entity
    finally:
        entity.stop(grace=2.0)


def channel_over(line: socket.socket, *, timeout: float = 2.0, **limits: int) -> Channel:
    """A channel with one CT context, number 1, and an Implicit-only peer limit of 16 KiB."""
    context = Context(id=1, abstract_syntax=CT, transfer_syntax=EXPLICIT)  # type: ignore[arg-type]
    other = Context(id=3, abstract_syntax="1.2.840.10008.1.1", transfer_syntax=EXPLICIT)  # type: ignore[arg-type]
    return Channel(
        Wire(line, timeout=timeout),
        contexts={1: context, 3: other},
        max_pdu=16384,
        limits=Limits(**limits),
        principal=DEVICE,
    )


def store_command(instance: str = "1.2.3", message_id: int = 7) -> bytes:
    """An encoded C-STORE-RQ."""
    return messages.store_request(message_id=message_id, sop_class=CT, instance=instance)


def pdv(context: int, control: int, content: bytes) -> bytes:
    """One presentation data value (PS3.8 9.3.5.1)."""
    return struct.pack(">IBB", len(content) + 2, context, control) + content


def pdata(*values: bytes) -> bytes:
    """A P-DATA-TF of these presentation data values (PS3.8 9.3.5)."""
    body = b"".join(values)
    return struct.pack(">BBI", 4, 0, len(body)) + body


def stored(content: bytes, *, instance: str = "1.2.3", context: int = 1, step: int = 16000) -> bytes:
    """A whole C-STORE request on the wire."""
    pieces = [content[at : at + step] for at in range(0, len(content), step)] or [b""]
    out = pdata(pdv(context, 3, store_command(instance)))
    for number, piece in enumerate(pieces, 1):
        out += pdata(pdv(context, 2 if number == len(pieces) else 0, piece))
    return out


def everything_from(line: socket.socket) -> bytes:
    """All that a peer sends until it closes the connection."""
    received = b""
    try:
        while piece := line.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received
