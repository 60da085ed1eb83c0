"""Associations that this node requests: negotiated with pynetdicom's PDUs, owned by the thread that asked.

pynetdicom's own associations come with a thread that reads the socket. Here the A-ASSOCIATE PDUs are built
and read by pynetdicom, but sent and received by the caller, so that from the first byte to the last there is
one reader and no hand-over (PS3.8 9.2 seen from the requestor: states 4, 5, 6, 7 are lines of `associate` and
`Association.release`).
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydicom.uid import UID
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, build_context, build_role

from node.archive.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.domain.errors import PeerUnreachable
from node.domain.ids import AETitle, TransferSyntaxUID
from node.domain.principal import Device
from services.dicom.channel import Channel, Context, Limits
from services.dicom.messages import PDU
from services.dicom.secure import CIPHERS
from services.dicom.wire import Wire, WireError

log = logging.getLogger(__name__)

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
"""DICOM Application Context Name (PS3.7 A.2.1)."""
MOST_CONTEXTS: Final = 128
"""Presentation contexts of one association: odd identifiers 1 to 255 (PS3.8 9.3.2.2)."""

_ASSOCIATE_AC, _ASSOCIATE_RJ, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x02, 0x03, 0x05, 0x06, 0x07
_LONGEST_ANSWER = 1 << 18
_RELEASE_RESPONSE = PDU.pack(_RELEASE_RP, 0, 4) + b"\0\0\0\0"
_NegotiationItem = (
    MaximumLengthNotification
    | ImplementationClassUIDNotification
    | ImplementationVersionNameNotification
    | SCP_SCU_RoleSelectionNegotiation
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A presentation context to propose."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    as_scp: bool = False
    """Ask to be the SCP in it although it is we who associate (PS3.7 D.3.3.4)."""


class NothingAccepted(PeerUnreachable):
    """{0} cannot be reached for this: {1}."""


class Association:
    """An established association that this node requested; used by one thread."""

    def __init__(self, channel: Channel, device: Device, patience: float) -> None:
        self.channel = channel
        self.device = device
        self._patience = patience
        self._open = True

    def release(self) -> None:
        """End it in order (PS3.8 7.2); a peer that does not answer is let go all the same."""
        if not self._open:
            return
        with suppress(WireError):
            self.channel.wire.send([A_RELEASE_RQ().encode()])
            self._await_release()
        self._close()

    def abort(self) -> None:
        """End it at once (PS3.8 7.3)."""
        if not self._open:
            return
        pdu = A_ABORT_RQ()
        pdu.source = 0
        pdu.reason_diagnostic = 0
        with suppress(WireError):
            self.channel.wire.send([pdu.encode()])
        self._close()

    def __enter__(self) -> Self:
        """Use it for a block: released at the end of it, aborted by an exception."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it, or abort it where the block failed."""
        if error is None:
            self.release()
        else:
            self.abort()

    def _await_release(self) -> None:
        """Read until the peer agrees or aborts; a release of its own collides and is answered (PS3.8 7.2)."""
        wire = self.channel.wire
        wire.finish_by(time.monotonic() + self._patience)
        while True:
            kind, _, length = PDU.unpack_from(wire.need(PDU.size))
            wire.skip(PDU.size)
            while length:
                part = min(length, max(wire.held, 1))
                wire.need(part)
                wire.skip(part)
                length -= part
            if kind in (_RELEASE_RP, _ABORT):
                return
            if kind == _RELEASE_RQ:
                wire.send([_RELEASE_RESPONSE])

    def _close(self) -> None:
        self._open = False
        with suppress(OSError):
            self.channel.wire.socket.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requestor:
    """This node as the requestor of associations."""

    ae_title: AETitle
    certificate: Path | None = None
    """The node's certificate (PEM), shown to devices that have one of their own."""
    private_key: Path | None = None
    limits: Limits = field(default_factory=Limits)
    patience: float = 30.0
    """Seconds to connect, to negotiate and to release."""
    timeout: float = 60.0
    """Seconds a peer may be silent in an operation."""

    def associate(self, device: Device, proposals: Sequence[Proposal]) -> Association:
        """Request an association with a device: with mutual TLS if it has a certificate, else without.

        Raises:
            PeerUnreachable: it cannot be connected to, is another than its certificate says, rejects the
                association or accepts none of the contexts.
        """
        deadline = time.monotonic() + self.patience
        sock = self._connected(device)
        try:
            wire = Wire(sock, timeout=self.timeout)
            wire.finish_by(deadline)
            wire.send([_request(self.ae_title, device, proposals, self.limits.max_pdu)])
            channel = self._channel(wire, device, proposals)
            wire.finish_by(None)
            return Association(channel, device, self.patience)
        except WireError as error:
            sock.close()
            raise PeerUnreachable(device.ae_title, "it ended the connection or did not answer") from error
        except BaseException:
            sock.close()
            raise

    def _channel(self, wire: Wire, device: Device, proposals: Sequence[Proposal]) -> Channel:
        """Read the answer to the request (PS3.8 9.3.3 and 9.3.4)."""
        accepted = _answer(wire, device)
        contexts = _contexts(accepted, proposals)
        if not contexts:
            raise NothingAccepted(device.ae_title, "it accepted none of the presentation contexts")
        return Channel(
            wire, contexts=contexts, max_pdu=accepted.maximum_length_received or 0, limits=self.limits
        )

    def _connected(self, device: Device) -> socket.socket:
        """A connection to the device, encrypted if it has a certificate."""
        try:
            sock = socket.create_connection((device.host, device.port), timeout=self.patience)
        except OSError as error:
            raise PeerUnreachable(device.ae_title, error.strerror or "the connection failed") from error
        if device.certificate is None:
            return sock
        try:
            return self._encrypted(sock, device.certificate)
        except (OSError, ValueError) as error:
            sock.close()
            log.warning("TLS to a device failed", extra={"device": device.ae_title, "error": str(error)})
            raise PeerUnreachable(device.ae_title, "TLS could not be agreed on") from error

    def _encrypted(self, sock: socket.socket, certificate: str) -> ssl.SSLSocket:
        """TLS in which both sides show the certificates they know of each other (BCP 195, PS3.15 B.12)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=certificate)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.private_key)
        encrypted = context.wrap_socket(sock)
        if encrypted.getpeercert(binary_form=True) not in _pinned(certificate):
            encrypted.close()
            raise ssl.SSLCertVerificationError("the device shows another certificate than its own")
        return encrypted


def _pinned(certificate: str) -> list[bytes]:
    """The certificates of a PEM text as they are sent (DER)."""
    ending = "-----END CERTIFICATE-----"
    blocks = certificate.split(ending)[:-1]
    return [ssl.PEM_cert_to_DER_cert(block[block.index("-----BEGIN") :] + ending) for block in blocks]


def _request(ae_title: AETitle, device: Device, proposals: Sequence[Proposal], max_pdu: int) -> bytes:
    """An encoded A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    if not 0 < len(proposals) <= MOST_CONTEXTS:
        raise ValueError("an association has 1 to 128 presentation contexts")
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT)
    primitive.calling_ae_title = str(ae_title)
    primitive.called_ae_title = str(device.ae_title)
    primitive.presentation_context_definition_list = [
        _proposed(number, proposal) for number, proposal in enumerate(proposals)
    ]
    primitive.user_information = list(_user_information(proposals, max_pdu))
    return A_ASSOCIATE_RQ(primitive).encode()


def _proposed(number: int, proposal: Proposal) -> PresentationContext:
    context = build_context(proposal.abstract_syntax, list(proposal.transfer_syntaxes))
    context.context_id = 2 * number + 1
    return context


def _user_information(proposals: Iterable[Proposal], max_pdu: int) -> Iterable[_NegotiationItem]:
    """What is said beside the contexts (PS3.7 D.3.3)."""
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu
    yield length
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    yield implementation
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    yield version
    for abstract_syntax in sorted({proposal.abstract_syntax for proposal in proposals if proposal.as_scp}):
        yield build_role(abstract_syntax, scp_role=True)


def _answer(wire: Wire, device: Device) -> A_ASSOCIATE:
    """The primitive of an A-ASSOCIATE-AC; anything else is a refusal."""
    kind, _, length = PDU.unpack_from(wire.need(PDU.size))
    if length > _LONGEST_ANSWER:
        raise PeerUnreachable(device.ae_title, "its answer is not one of DICOM")
    encoded = bytes(wire.need(PDU.size + length)[: PDU.size + length])
    wire.skip(PDU.size + length)
    try:
        if kind == _ASSOCIATE_AC:
            accepted = A_ASSOCIATE_AC()
            accepted.decode(encoded)
            return accepted.to_primitive()
        reason = _rejection(encoded) if kind == _ASSOCIATE_RJ else "it aborted the association"
    except Exception as error:  # whatever a parser makes of a stranger's bytes
        raise PeerUnreachable(device.ae_title, "its answer is not one of DICOM") from error
    raise PeerUnreachable(device.ae_title, reason)


def _rejection(encoded: bytes) -> str:
    """The reason of an A-ASSOCIATE-RJ in words (PS3.8 9.3.4)."""
    rejected = A_ASSOCIATE_RJ()
    rejected.decode(encoded)
    return f"it rejected the association ({rejected.reason_str})"


def _contexts(accepted: A_ASSOCIATE, proposals: Sequence[Proposal]) -> Mapping[int, Context]:
    """The accepted contexts by their identifier, in the transfer syntax that the peer chose."""
    contexts = {}
    for answer in accepted.presentation_context_definition_results_list:
        number = (answer.context_id or 0) // 2
        if answer.result != 0 or number >= len(proposals) or not answer.transfer_syntax:
            continue
        proposal, chosen = proposals[number], str(answer.transfer_syntax[0])
        if chosen in proposal.transfer_syntaxes:
            contexts[2 * number + 1] = Context(
                id=2 * number + 1,
                abstract_syntax=proposal.abstract_syntax,
                transfer_syntax=TransferSyntaxUID(chosen),
                as_scu=not proposal.as_scp,
                as_scp=proposal.as_scp,
            )
    return contexts
