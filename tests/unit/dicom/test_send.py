"""Instances leave as they are stored, over associations of our own."""

from __future__ import annotations

import errno
import os
import socket
import threading
import tracemalloc
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.filereader import dcmread, read_dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MRImageStorage,
)
from pynetdicom import build_context

from node.domain.errors import BlobMissing, Damaged, PeerUnreachable
from node.domain.ids import AETitle, TransferSyntaxUID
from node.domain.principal import Device
from services.dicom.associate import Proposal, Requestor
from services.dicom.messages import Field
from services.dicom.send import Result, Sender, batches
from tests.support.face import served
from tests.support.fake_archive import FakeArchive, FakeFile, encoded
from tests.support.peers import free_port
from tests.support.sinks import demanding, keypair, sink, storescp
from tests.support.synthetic import dataset

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit]
ALL = [build_context(CTImageStorage, SYNTAXES)]
REQUESTOR = Requestor(ae_title=AETitle("KONZILIUM"), patience=5, timeout=5)


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return FakeArchive(folder)


def compressed(number: int):
    made = dataset(number=number)
    made.PixelData = encapsulate([b"\xff\xd8" + b"x" * 1000])
    made["PixelData"].is_undefined_length = True
    return made


def device(port: int, certificate: str | None = None) -> Device:
    return Device(ae_title=AETitle("SINK"), host="127.0.0.1", port=port, certificate=certificate)


def sent(archive: FakeArchive, to: Device, requestor: Requestor = REQUESTOR) -> list[int]:
    """Send everything and return the statuses."""
    statuses = []
    for pairs, batch in batches(archive.instances):
        with Sender(requestor).open(to, pairs) as session:
            for instance in batch:
                with archive.open(instance) as file:
                    statuses.append(session.store(instance, file))
    return statuses


@pytest.mark.parametrize("max_pdu", [0, 4096, 16382, 131072])
def test_data_sets_arrive_byte_for_byte_in_their_stored_syntax(archive, max_pdu):
    archive.keep(dataset(number=1, side=512), ExplicitVRLittleEndian)
    archive.keep(dataset(number=2, side=31), ImplicitVRLittleEndian)
    archive.keep(compressed(3), JPEGBaseline8Bit)
    with sink(ALL, max_pdu=max_pdu) as taken:
        assert sent(archive, device(taken.port)) == [0, 0, 0]
    assert [one.transfer_syntax for one in taken.received] == [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEGBaseline8Bit,
    ]
    for one in taken.received:
        assert one.content == encoded(archive.folder / one.uid)


def test_a_device_that_knows_only_the_default_syntax_gets_it(archive):
    instance = archive.keep(dataset(number=1, side=64), ExplicitVRLittleEndian)
    with sink([build_context(CTImageStorage, ImplicitVRLittleEndian)]) as taken:
        assert sent(archive, device(taken.port)) == [0]
    got = read_dataset(BytesIO(taken.received[0].content), True, True)
    assert got == dcmread(archive.folder / instance.uid)


def test_what_no_context_takes_is_not_sent_and_the_rest_is(archive):
    archive.keep(compressed(1), JPEGBaseline8Bit)
    archive.keep(dataset(number=2), ExplicitVRLittleEndian)
    with sink([build_context(CTImageStorage, ExplicitVRLittleEndian)]) as taken:
        assert sent(archive, device(taken.port)) == [0x0122, 0]
    assert len(taken.received) == 1


def test_a_status_of_the_device_is_handed_on(archive):
    archive.keep(dataset(number=1))
    with sink(ALL) as taken:
        taken.status = lambda event: 0xA700
        assert sent(archive, device(taken.port)) == [0xA700]


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (0x0000, Result.COMPLETED),
        (0xB000, Result.WARNING),
        (0xB007, Result.WARNING),
        (0x0107, Result.WARNING),
        (0xA700, Result.FAILED),
        (0xC000, Result.FAILED),
        (0x0122, Result.FAILED),
    ],
)
def test_a_status_is_a_success_a_warning_or_a_failure(status, result):
    assert Result.of(status) is result


def test_a_file_that_lost_its_end_is_not_sent_at_all(archive):
    instance = archive.keep(dataset(number=1))
    with sink(ALL) as taken, Sender(REQUESTOR).open(device(taken.port), _pairs(instance)) as session:
        with archive.open(instance) as file, pytest.raises(BlobMissing):
            session.store(instance, FakeFile(file.fd, file.offset, file.size + 10))
        with archive.open(instance) as file:
            assert session.store(instance, file) == 0


@pytest.mark.parametrize(("readable", "error"), [(0, Damaged), (1, PeerUnreachable)])
def test_a_disk_that_fails_before_the_first_byte_costs_one_instance_only(
    archive, monkeypatch, readable, error
):
    instance = archive.keep(dataset(number=1, side=1024))
    reads, real = [], os.preadv

    def failing(fd, buffers, place):
        reads.append(place)
        if len(reads) == readable + 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, buffers, place)

    with sink(ALL) as taken, Sender(REQUESTOR).open(device(taken.port), _pairs(instance)) as session:
        monkeypatch.setattr(os, "preadv", failing)
        with archive.open(instance) as file, pytest.raises(error):
            session.store(instance, file)
        if error is Damaged:
            with archive.open(instance) as file:
                assert session.store(instance, file) == 0


def _pairs(instance):
    return [(instance.sop_class, instance.transfer_syntax)]


def test_instances_of_more_kinds_than_an_association_has_contexts_go_in_turn(archive):
    original = archive.keep(dataset(number=1))
    instances = []
    for number in range(300):
        fields = {name: getattr(original, name) for name in original.__dataclass_fields__}
        fields["transfer_syntax"] = TransferSyntaxUID(f"1.2.{number // 2}")
        instances.append(type(original)(**fields))
    made = list(batches(instances))
    assert [len(pairs) for pairs, _ in made] == [128, 22]
    assert [instance for _, batch in made for instance in batch] == instances
    for pairs, batch in made:
        assert {instance.transfer_syntax for instance in batch} == {syntax for _, syntax in pairs}


def test_a_device_that_is_not_there_is_unreachable(archive):
    archive.keep(dataset(number=1))
    with pytest.raises(PeerUnreachable, match="refused"):
        sent(archive, device(free_port()))


def test_a_device_that_rejects_us_is_unreachable_with_its_reason(archive):
    archive.keep(dataset(number=1))
    with sink(ALL) as taken:
        wrong = Device(ae_title=AETitle("OTHER"), host="127.0.0.1", port=taken.port)
        with pytest.raises(PeerUnreachable, match="none of the presentation contexts"):
            Sender(REQUESTOR).open(wrong, [(MRImageStorage, TransferSyntaxUID(ExplicitVRLittleEndian))])


def _listening(answer: bytes, stay: threading.Event) -> int:
    """A listener that answers once and then stays as long as it is told."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        line, _ = listener.accept()
        line.recv(65536)
        line.sendall(answer)
        stay.wait(20)
        line.close()
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x03\0\0\0\0\x04\0\x01\x01\x07", "rejected the association"),
        (b"\x07\0\0\0\0\x04\0\0\0\0", "aborted"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not one of DICOM"),
        (b"\x02\0\0\0\0\x02\0\0", "none of the presentation contexts"),
        (b"", "did not answer"),
    ],
)
def test_an_answer_that_is_no_acceptance_says_why(answer, reason):
    stay = threading.Event()
    port = _listening(answer, stay)
    hasty = Requestor(ae_title=AETitle("KONZILIUM"), patience=1, timeout=1)
    with pytest.raises(PeerUnreachable, match=reason):
        hasty.associate(device(port), [Proposal(abstract_syntax="1.2", transfer_syntaxes=("1.2.3",))])
    stay.set()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
def test_whatever_a_stranger_answers_the_device_is_unreachable(noise):
    stay = threading.Event()
    stay.set()
    port = _listening(b"\x02\0" + len(noise).to_bytes(4, "big") + noise, stay)
    with pytest.raises(PeerUnreachable):
        REQUESTOR.associate(device(port), [Proposal(abstract_syntax="1.2", transfer_syntaxes=("1.2.3",))])


def test_a_device_that_goes_away_in_the_middle_is_unreachable(archive):
    archive.keep(dataset(number=1))
    archive.keep(dataset(number=2))
    with sink(ALL) as taken:
        taken.status = lambda event: event.assoc.abort() or 0
        with pytest.raises(PeerUnreachable, match="ended the association"):
            sent(archive, device(taken.port))
    assert len(taken.received) == 1


def test_a_huge_instance_goes_out_in_little_memory(archive):
    instance = archive.keep(dataset(number=1))
    path = archive.folder / instance.uid
    os.truncate(path, 300 << 20)
    got = []

    def swallow(message):
        got.append(sum(len(chunk) for chunk in message.dataset))
        message.respond(0)

    with served({Field.C_STORE_RQ: swallow}, ALL) as port:
        tracemalloc.start()
        with archive.open(instance) as file:
            with Sender(REQUESTOR).open(device(port), _pairs(instance)) as session:
                assert session.store(instance, file) == 0
            assert got == [file.size - file.offset]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 << 20


def test_a_device_with_a_certificate_is_reached_by_mutual_tls(archive, tmp_path):
    archive.keep(dataset(number=1, side=256))
    ours, theirs = keypair(tmp_path, "site"), keypair(tmp_path, "sink")
    requestor = Requestor(
        ae_title=AETitle("KONZILIUM"), certificate=ours[0], private_key=ours[1], patience=5, timeout=5
    )
    with sink(ALL, tls=demanding(theirs, ours[0])) as taken:
        assert sent(archive, device(taken.port, theirs[0].read_text()), requestor) == [0]
        with pytest.raises(PeerUnreachable):
            sent(archive, device(taken.port, theirs[0].read_text()))
    assert taken.received[0].content == encoded(archive.folder / archive.instances[0].uid)


def test_a_device_that_shows_another_certificate_than_its_own_gets_nothing(archive, tmp_path):
    archive.keep(dataset(number=1))
    ours, theirs, other = (keypair(tmp_path, name) for name in ("site", "sink", "other"))
    requestor = Requestor(
        ae_title=AETitle("KONZILIUM"), certificate=ours[0], private_key=ours[1], patience=5, timeout=5
    )
    with sink(ALL, tls=demanding(other, ours[0])) as taken, pytest.raises(PeerUnreachable, match="TLS"):
        sent(archive, device(taken.port, theirs[0].read_text()), requestor)
    assert taken.received == []


@pytest.mark.peer
def test_dcmtk_receives_byte_for_byte(archive, tmp_path):
    folder = tmp_path / "received"
    folder.mkdir()
    for number in range(1, 6):
        archive.keep(dataset(number=number, side=128))
    archive.keep(compressed(6), JPEGBaseline8Bit)
    with storescp(folder, "+xa") as port:
        assert sent(archive, device(port)) == [0] * 6
    received = sorted(folder.iterdir())
    assert len(received) == 6
    for path in received:
        uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        assert encoded(path) == encoded(archive.folder / uid)
