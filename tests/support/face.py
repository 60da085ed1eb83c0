"""A DICOM face with chosen handlers: pynetdicom's server, our receive path, any caller welcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext

from node.domain.principal import Principal
from services.dicom import pump
from services.dicom.channel import Limits
from services.dicom.pump import Handler, Service
from services.dicom.wire import Wire
from tests.support.fake_archive import SCU


@contextmanager
def served(
    handlers: Mapping[int, Handler],
    contexts: Sequence[PresentationContext],
    *,
    principal: Principal = SCU,
    limits: Limits | None = None,
) -> Iterator[int]:
    """Serve these contexts on a port, which is handed out."""
    pump.install()

    def adopt(event: evt.Event) -> None:
        wire = Wire(event.assoc.dul.socket.socket, timeout=20)
        service = Service(wire=wire, handlers=handlers, limits=limits or Limits(), principal=principal)
        pump.adopt(event.assoc, service)

    entity = AE(ae_title="KONZILIUM")
    for context in contexts:
        entity.add_supported_context(
            context.abstract_syntax,
            context.transfer_syntax,
            scu_role=context.scu_role,
            scp_role=context.scp_role,
        )
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_CONN_OPEN, adopt)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
