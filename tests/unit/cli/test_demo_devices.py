"""The demonstration's devices: answers reach whoever waits for them, also on a busy machine."""

from __future__ import annotations

from pynetdicom import AE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from services.cli.demo.devices import Peer


def test_the_thread_of_an_association_takes_no_answer_that_a_device_waits_for():
    entity = AE(ae_title="BRNO")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        scanner = Peer(ae_title="CT1", node="BRNO", port=server.socket.getsockname()[1])
        association = scanner._associate([build_context(Verification)])
        assert association.send_c_echo().Status == 0
        association._reactor_checkpoint.set()  # as pynetdicom does after each request
        assert not association._reactor_checkpoint.is_set()
        assert association.send_c_echo().Status == 0
        association.release()
        association.join(10)
        assert not association.is_alive()
    finally:
        server.shutdown()
