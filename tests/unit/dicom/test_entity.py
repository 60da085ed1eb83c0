"""Associations with the entity as devices have them: pynetdicom on the other side, plain and TLS."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelFind, Verification

from node.domain.errors import (
    BadSetting,
    Forbidden,
    MismatchedInstance,
    PortTaken,
    StoreFull,
    Unavailable,
    Unidentified,
)
from node.domain.ids import AETitle
from services.dicom import messages
from services.dicom.messages import Field
from tests.support.caller import Caller
from tests.support.certificates import identity
from tests.support.dicom_door import MemoryArchive, MemoryDevices, serving


@pytest.fixture(scope="module")
def ct():
    return dcmread(get_testdata_file("CT_small.dcm"))


def associate(entity, *, calling="CT1", called="KONZILIUM", contexts=(CTImageStorage, Verification), **more):
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    for context in contexts:
        ae.add_requested_context(context, more.pop("syntaxes", None) or [ImplicitVRLittleEndian])
    door = -1 if "tls_args" in more else 0
    return ae.associate("127.0.0.1", entity.ports[door], ae_title=called, **more)


def rejection(association):
    answer = association.acceptor.primitive
    assert association.is_rejected
    return answer.result, answer.result_source, answer.diagnostic


def test_an_instance_arrives_byte_for_byte(ct):
    archive = MemoryArchive()
    with serving(archive) as entity:
        association = associate(entity)
        assert association.send_c_echo().Status == 0
        assert association.send_c_store(ct).Status == 0
        assert association.send_c_echo().Status == 0
        association.release()
    assert archive.kept[ct.SOPInstanceUID] == encode(ct, True, True)
    assert archive.offers[0].transfer_syntax == ImplicitVRLittleEndian
    assert archive.offers[0].sop_class == ct.SOPClassUID


@pytest.mark.parametrize("max_pdu", [4096, 16384, 1 << 20])
def test_the_offered_length_is_what_the_settings_say(ct, max_pdu):
    archive = MemoryArchive()
    with serving(archive, max_pdu=max_pdu) as entity:
        association = associate(entity)
        assert association.acceptor.maximum_length == max_pdu
        assert association.send_c_store(ct).Status == 0
        association.release()
    assert len(archive.kept) == 1


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (StoreFull("1 GiB left"), 0xA700),
        (Forbidden("CT1", "store", "not allowed"), 0x0124),
        (MismatchedInstance("SOP Instance UID"), 0xA900),
        (Unidentified("patient", "0" * 64), 0xC000),
        (RuntimeError("NOVAK^JAN"), 0x0110),
    ],
)
@pytest.mark.parametrize("after", [0, None])
def test_a_failure_is_said_and_the_association_goes_on(ct, caplog, failure, status, after):
    archive = MemoryArchive(failure=failure, after=after)
    with serving(archive) as entity, calling(entity) as caller:
        answer = store(caller, encode(ct, False, True))
        assert answer[0x0900] == status
        assert 0 < len(answer[0x0902]) <= 64
        archive.failure = None
        assert store(caller, encode(ct, False, True))[0x0900] == 0
    assert "NOVAK" not in caplog.text


def calling(entity, classes=(CTImageStorage,)):
    return Caller.open(entity.ports[0], calling="CT1", classes=classes, timeout=10.0)


def store(caller, content, sop_class=CTImageStorage, instance="1.2.3"):
    """C-STORE over a bare socket; the elements of the response."""
    context = caller.contexts[sop_class, ExplicitVRLittleEndian]
    caller._send_fragment(
        context, 3, messages.store_request(message_id=1, sop_class=sop_class, instance=instance)
    )
    caller._data(context, [content])
    return caller._response()


def test_storing_in_a_context_that_is_not_for_storage_is_refused():
    with serving() as entity, calling(entity, [Verification]) as caller:
        assert store(caller, b"data", Verification)[0x0900] == 0x0122
        assert caller.echo() == 0


def test_a_command_without_a_handler_is_left_to_pynetdicom():
    with serving() as entity:
        association = associate(entity, contexts=[StudyRootQueryRetrieveInformationModelFind])
        from pydicom.dataset import Dataset

        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        answers = list(association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind))
        assert answers[-1][0].Status == 0xC311  # what pynetdicom says where nobody has bound a handler
        association.release()


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [("CT1", "ORTHANC", (1, 1, 7)), ("STRANGER", "KONZILIUM", (1, 1, 3)), ("STRANGER", "ORTHANC", (1, 1, 7))],
)
def test_who_is_not_known_is_rejected_with_the_reason(calling, called, reason):
    with serving() as entity:
        assert rejection(associate(entity, calling=calling, called=called)) == reason


@pytest.mark.parametrize(
    ("failure", "reason"), [(Forbidden("CT1", "associate", "x"), (1, 1, 1)), (Unavailable("busy"), (2, 3, 1))]
)
def test_other_failures_to_recognise_reject_too(failure, reason):
    with serving(devices=MemoryDevices(failure=failure)) as entity:
        assert rejection(associate(entity)) == reason


def test_a_device_list_that_breaks_lets_nobody_in():
    broken = type("Broken", (), {"recognise": lambda *_: 1 / 0, "version": lambda _: 0})()
    with serving(devices=broken) as entity:
        assert rejection(associate(entity)) == (1, 1, 1)


def test_a_caller_is_described_to_the_device_list():
    devices = MemoryDevices()
    with serving(devices=devices) as entity:
        associate(entity).release()
    caller, asked = devices.callers[0]
    assert (caller.calling, caller.called, caller.address) == ("CT1", "KONZILIUM", "127.0.0.1")
    assert caller.certificate is None
    assert asked == "CT Image Storage, Verification SOP Class"


def test_there_are_no_more_associations_than_there_may_be():
    devices = MemoryDevices({"A", "B", "C"})
    with serving(devices=devices, max_associations=3, max_associations_per_device=2) as entity:
        first, second = associate(entity, calling="A"), associate(entity, calling="A")
        assert rejection(associate(entity, calling="A")) == (2, 3, 2)
        third = associate(entity, calling="B")
        assert rejection(associate(entity, calling="C")) == (2, 3, 2)
        first.release()
        again = eventually(lambda: associate(entity, calling="A"))
        for association in (second, third, again):
            assert association.is_established
            association.release()


def eventually(attempt):
    """The first attempt within five seconds that is not rejected."""
    end = time.monotonic() + 5
    while True:
        association = attempt()
        if not association.is_rejected or time.monotonic() > end:
            return association
        time.sleep(0.02)


def test_an_idle_association_is_aborted_and_its_seat_is_free_again():
    with serving(idle_timeout=0.3, max_associations=1) as entity:
        association = associate(entity)
        assert until(lambda: association.is_aborted)
        again = eventually(lambda: associate(entity))
        assert again.is_established
        again.release()


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_slow_disk_is_not_taken_for_an_idle_association(ct):
    archive = MemoryArchive(hold=lambda: time.sleep(1.2))
    with serving(archive, idle_timeout=0.2) as entity:
        association = associate(entity)
        assert association.send_c_store(ct).Status == 0
        association.release()


def test_sixteen_devices_store_at_once(ct):
    archive = MemoryArchive()
    raw = encode(ct, True, True)

    def send(number):
        association = associate(entity, calling=f"D{number}")
        mine = dcmread(BytesIO(get_bytes()), force=True)
        mine.SOPInstanceUID = f"1.2.{number}"
        mine.file_meta.MediaStorageSOPInstanceUID = mine.SOPInstanceUID
        statuses.append(association.send_c_store(mine).Status)
        association.release()

    def get_bytes():
        with open(get_testdata_file("CT_small.dcm"), "rb") as file:
            return file.read()

    statuses: list[int] = []
    devices = MemoryDevices({f"D{number}" for number in range(16)})
    with serving(archive, devices) as entity:
        threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 16
    assert len(archive.kept) == 16
    assert len(raw) > 0


def test_a_taken_port_is_named():
    with (
        serving() as entity,
        pytest.raises(PortTaken, match=str(entity.ports[0])),
        serving(port=entity.ports[0]),
    ):
        pass


def test_stopping_lets_the_request_finish_that_is_being_served(ct):
    begun, go_on = threading.Event(), threading.Event()

    def hold():
        begun.set()
        go_on.wait(10)

    archive = MemoryArchive(hold=hold)
    with serving(archive) as entity:
        association = associate(entity)
        statuses: list[object] = []
        sender = threading.Thread(target=lambda: statuses.append(association.send_c_store(ct)))
        sender.start()
        assert begun.wait(10)
        stopper = threading.Thread(target=lambda: entity.stop(grace=10.0))
        stopper.start()
        assert until(lambda: refused(entity, association))
        go_on.set()
        sender.join()
        stopper.join()
        assert statuses[0].Status == 0
        assert until(lambda: association.is_aborted)


def refused(entity, association):
    port = association.acceptor.address_info.port
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_stopping_hangs_up_on_what_does_not_finish(ct):
    begun, go_on = threading.Event(), threading.Event()
    archive = MemoryArchive(hold=lambda: begun.set() or go_on.wait(10))
    with serving(archive) as entity:
        association = associate(entity)
        sender = threading.Thread(target=lambda: association.send_c_store(ct))
        sender.start()
        assert begun.wait(10)
        entity.stop(grace=0.1)
        go_on.set()
        sender.join()
        assert until(lambda: association.is_aborted)


def test_an_entity_leaves_no_thread_and_no_descriptor_behind(ct):
    before = threads_of_associations()
    for _ in range(3):
        with serving() as entity:
            for _ in range(3):
                association = associate(entity)
                assert association.send_c_store(ct).Status == 0
                association.release()
    assert until(lambda: threads_of_associations() <= before)


def threads_of_associations():
    return sum(1 for thread in threading.enumerate() if thread is not threading.main_thread())


def test_a_sub_operation_is_sent_to_a_requestor_that_receives(ct):
    """The channel works both ways: C-GET in small."""
    content = encode(ct, True, True)

    def get(message):
        message.dataset.drain()
        channel = message.channel
        context = next(context for context in channel.contexts.values() if context.as_scu)
        command = messages.store_request(message_id=5, sop_class=ct.SOPClassUID, instance=ct.SOPInstanceUID)
        channel.send(context.id, command, [content[:1000], content[1000:]], len(content))
        assert channel.response_to(5).status == 0
        message.respond(0, counts=messages.Counts(completed=1))

    from pydicom.dataset import Dataset
    from pynetdicom import evt
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

    received = []

    def keep(event):
        received.append(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        return 0

    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    with serving(handlers={Field.C_GET_RQ: get}) as entity:
        association = associate(
            entity,
            contexts=[StudyRootQueryRetrieveInformationModelGet, CTImageStorage],
            ext_neg=[build_role(CTImageStorage, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
        answers = list(association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet))
        association.release()
    assert answers[-1][0].Status == 0
    assert answers[-1][0].NumberOfCompletedSuboperations == 1
    assert received == [hashlib.sha256(content).hexdigest()]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    ca = identity(folder, "ca", ca=True)
    return {
        "site": identity(folder, "site"),
        "ct": identity(folder, "ct"),
        "stranger": identity(folder, "stranger"),
        "ca": ca,
        "issued": identity(folder, "issued", ca),
    }


def secured(keys, **changes):
    site = keys["site"]
    return {"tls_port": 0, "certificate": site.certificate, "private_key": site.private_key} | changes


def tls_args(keys, who, **versions):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(keys["site"].certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for name, version in versions.items():
        setattr(context, name, version)
    if who:
        context.load_cert_chain(keys[who].certificate, keys[who].private_key)
    return context, "localhost"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_device_with_its_certificate_stores_over_tls(ct, keys, version):
    archive, devices = MemoryArchive(), MemoryDevices(pems=[keys["ct"].pem])
    with serving(archive, devices, **secured(keys)) as entity:
        args = tls_args(keys, "ct", minimum_version=version, maximum_version=version)
        association = associate(entity, tls_args=args)
        assert association.is_established
        for _ in range(3):
            assert association.send_c_store(ct).Status == 0
        assert association.send_c_echo().Status == 0
        association.release()
    assert archive.kept[ct.SOPInstanceUID] == encode(ct, True, True)
    shown = ssl.PEM_cert_to_DER_cert(keys["ct"].pem)
    assert devices.callers[0][0].certificate == hashlib.sha256(shown).hexdigest()


@pytest.mark.parametrize("who", [None, "stranger", "issued"])
def test_without_a_known_certificate_there_is_no_tls(keys, who):
    with serving(devices=MemoryDevices(pems=[keys["ct"].pem]), **secured(keys)) as entity:
        association = associate(entity, tls_args=tls_args(keys, who))
        assert not association.is_established


def test_a_certificate_of_the_device_authority_is_enough(keys):
    changes = secured(keys, device_ca=keys["ca"].certificate)
    with serving(**changes) as entity:
        association = associate(entity, tls_args=tls_args(keys, "issued"))
        assert association.is_established
        association.release()


def test_a_device_that_is_added_later_is_trusted_without_a_restart(keys):
    devices = MemoryDevices(pems=[keys["ct"].pem])
    with serving(devices=devices, **secured(keys)) as entity:
        assert not associate(entity, tls_args=tls_args(keys, "stranger")).is_established
        devices.pems.append(keys["stranger"].pem)
        association = associate(entity, tls_args=tls_args(keys, "stranger"))
        assert association.is_established
        association.release()


def test_an_unfinished_handshake_holds_nobody_up(keys):
    devices = MemoryDevices(pems=[keys["ct"].pem])
    with (
        serving(devices=devices, **secured(keys)) as entity,
        socket.create_connection(("127.0.0.1", entity.ports[1])),
    ):
        association = associate(entity, tls_args=tls_args(keys, "ct"))
        assert association.is_established
        association.release()


def test_an_unfinished_handshake_ends_in_time(keys):
    with (
        serving(acse_timeout=0.3, **secured(keys)) as entity,
        socket.create_connection(("127.0.0.1", entity.ports[1]), timeout=10) as line,
    ):
        line.sendall(b"\x16\x03\x01")
        assert line.recv(100) == b""


def test_a_large_instance_goes_over_tls_in_bounded_chunks(keys):
    import os

    from tests.support.dicom_door import pdata, pdv, stored

    content = os.urandom(5_000_000)
    archive, devices = MemoryArchive(), MemoryDevices(pems=[keys["ct"].pem])
    with serving(archive, devices, **secured(keys)) as entity:
        association = associate(entity, tls_args=tls_args(keys, "ct"))
        line = association.dul.socket.socket
        association._reactor_checkpoint.clear()
        line.sendall(stored(content, context=1, step=131066))
        assert until(lambda: archive.kept.get("1.2.3") == content)
        association._reactor_checkpoint.set()
        association.abort()
    assert max(archive.chunks) <= 1 << 20
    assert pdata(pdv(1, 3, b"")) != b""


def test_a_certificate_that_does_not_fit_its_key_stops_the_start(keys):
    changes = secured(keys, private_key=keys["ct"].private_key)
    with pytest.raises(BadSetting), serving(**changes):
        pass


def test_a_title_may_have_spaces_around_it(ct):
    with serving(ae_title=AETitle("MY NODE")) as entity:
        association = associate(entity, called="MY NODE")
        assert association.is_established
        association.release()
