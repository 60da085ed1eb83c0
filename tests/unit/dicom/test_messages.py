"""Command sets and fragments: what is built is read again, and nothing else is read."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from node.domain.errors import MalformedIdentifier
from services.dicom import messages
from services.dicom.messages import Command, Counts, Field, ProtocolError, Reason
from tests.support.dicom_door import CT, store_command

elements = st.dictionaries(
    st.integers(1, 0xFFFF), st.binary(max_size=64).map(lambda value: value[: len(value) & ~1]), max_size=12
)


def unframed(stream: bytes, max_pdu: int) -> list[tuple[int, int, bytes]]:
    """(context, control, content) of every PDV of a stream of PDUs that keep the limit."""
    found, place = [], 0
    while place < len(stream):
        kind, _, length = struct.unpack_from(">BBI", stream, place)
        size, context, control = struct.unpack_from(">IBB", stream, place + 6)
        assert kind == 4
        assert length == size + 4
        assert length <= (max_pdu or messages.UNLIMITED_PDU)
        found.append((context, control, stream[place + 12 : place + 10 + size]))
        place += 6 + length
    return found


@given(elements)
def test_what_is_built_is_parsed_again(values):
    assert messages.parse(messages.build(values)).elements.items() >= values.items()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_set_or_a_protocol_error(noise):
    try:
        command = messages.parse(noise)
    except ProtocolError as error:
        assert error.reason is Reason.INVALID_PARAMETER
    else:
        assert isinstance(command.field, int)
        assert isinstance(command.comment, str)


@given(elements, st.data())
def test_a_damaged_command_set_raises_nothing_but_protocol_errors(values, data):
    encoded = bytearray(messages.build(values))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        command = messages.parse(encoded)
    except ProtocolError:
        return
    for name in ("field", "message_id", "responding_to", "priority", "status", "has_dataset", "comment"):
        getattr(command, name)


def test_a_store_request_is_what_pydicom_writes():
    expected = Dataset()
    expected.AffectedSOPClassUID = CT
    expected.CommandField = 1
    expected.MessageID = 9
    expected.Priority = 0
    expected.CommandDataSetType = 1
    expected.AffectedSOPInstanceUID = "1.2.3"
    expected.MoveOriginatorApplicationEntityTitle = "CT1"
    expected.MoveOriginatorMessageID = 4
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, True
    write_dataset(file, expected)
    built = messages.store_request(
        message_id=9, sop_class=CT, instance="1.2.3", originator="CT1", originator_message_id=4
    )
    assert built[12:] == file.getvalue()
    assert built[:12] == struct.pack("<HHII", 0, 0, 4, len(built) - 12)


def test_what_an_n_action_requests_is_affected_in_its_response():
    """PS3.7 10.3.5: Requested SOP Class and Instance UID there, Affected ones here."""
    model = b"1.2.840.10008.1.20.1"
    request = messages.build(
        {
            0x0003: model,
            0x0100: struct.pack("<H", 0x0130),
            0x0110: struct.pack("<H", 3),
            0x0800: struct.pack("<H", 1),
            0x1001: model + b".1",
            0x1008: struct.pack("<H", 1),
        }
    )
    answer = messages.parse(messages.response(messages.parse(request), 0))
    assert answer.elements[0x0100] == struct.pack("<H", 0x8130)
    assert (answer.sop_class, answer.instance) == (model.decode(), model.decode() + ".1")


def test_a_response_names_what_it_answers():
    request = messages.parse(store_command("1.2.3", 7))
    counts = Counts(completed=1, failed=2, warning=3, remaining=4)
    answer = messages.parse(
        messages.response(
            request, 0xC000, comment="no\\such\nthing" * 9, counts=counts, offending=[0x00100020]
        )
    )
    assert answer.field == Field.C_STORE_RSP
    assert answer.responding_to == 7
    assert answer.status == 0xC000
    assert answer.instance == "1.2.3"
    assert answer.sop_class == CT
    assert not answer.has_dataset
    assert answer.comment.startswith("no/such thingno/such")
    assert len(answer.comment) <= 64
    assert answer.elements[0x0901] == struct.pack("<HH", 0x10, 0x20)
    assert [struct.unpack("<H", answer.elements[n])[0] for n in (0x1020, 0x1021, 0x1022, 0x1023)] == [
        4,
        1,
        2,
        3,
    ]


def test_an_identifier_that_is_no_uid_is_malformed():
    with pytest.raises(MalformedIdentifier):
        _ = Command({0x1000: b"one.two"}).instance


@given(
    st.lists(st.binary(max_size=700), max_size=8),
    st.sampled_from([0, 32, 128, 256, 1000, 16384]),
    st.sampled_from([b"c" * 20, b"c" * 300]),
)
def test_fragments_carry_the_message_within_the_peers_limit(parts, max_pdu, command):
    length = sum(map(len, parts))
    batches = messages.fragments(5, command, parts, length, max_pdu)
    stream = b"".join(bytes(piece) for batch in batches for piece in batch)
    values = unframed(stream, max_pdu)
    commands = [value for value in values if value[1] & 1]
    content = [value for value in values if not value[1] & 1]
    assert {value[0] for value in values} == {5}
    assert b"".join(value[2] for value in commands) == command
    assert [value[1] for value in commands] == [1] * (len(commands) - 1) + [3]
    assert b"".join(value[2] for value in content) == b"".join(parts)
    assert [value[1] for value in content] == [0] * (len(content) - 1) + [2] * bool(length)


@given(st.binary(max_size=3000), st.sampled_from([0, 128, 1000, 16384]))
def test_a_framed_message_is_the_same_message(dataset, max_pdu):
    batches = messages.fragments(1, b"cc", [dataset], len(dataset), max_pdu)
    assert messages.framed(1, b"cc", dataset, max_pdu) == b"".join(p for batch in batches for p in batch)


def test_fragments_do_not_copy_what_they_carry():
    buffer = bytearray(b"a" * 100000)
    parts = iter([memoryview(buffer)])
    pieces = [piece for batch in messages.fragments(1, b"cc", parts, 100000, 16384) for piece in batch]
    assert all(piece.obj is buffer for piece in pieces if isinstance(piece, memoryview))


@pytest.mark.parametrize("announced", [99, 101])
def test_a_data_set_of_another_length_than_announced_is_not_sent_as_if_it_were_whole(announced):
    with pytest.raises(ValueError, match="than announced"):
        list(messages.fragments(1, b"cc", [b"a" * 100], announced, 16384))
