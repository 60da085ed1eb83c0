"""Identifiers of query and retrieve: what a request asks for, as values (PS3.4 C.4.1.1.3).

The identifier arrives as an encoded data set of a stranger. It is read once, here, within a bound, and
becomes a `Query` or a `Selection`; whatever cannot be read is a `MalformedQuery`, which never quotes what was
sent.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final, TypeVar, cast

from pydicom.charset import STAND_ALONE_ENCODINGS, decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.values import convert_SQ

from node.domain.errors import MalformedIdentifier, MalformedQuery
from node.domain.ids import UID, InstanceUID, SeriesUID, StudyUID
from node.domain.query import Key, Level, Query, Selection

SPECIFIC_CHARACTER_SET: Final = 0x00080005
QUERY_RETRIEVE_LEVEL: Final = 0x00080052
RETRIEVE_AE_TITLE: Final = 0x00080054
INSTANCE_AVAILABILITY: Final = 0x00080056
TIMEZONE_OFFSET: Final = 0x00080201
PATIENT_ID: Final = 0x00100020
ISSUER_OF_PATIENT_ID: Final = 0x00100021
STUDY_INSTANCE_UID: Final = 0x0020000D
SERIES_INSTANCE_UID: Final = 0x0020000E
SOP_INSTANCE_UID: Final = 0x00080018

SYNTAXES: Final = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
"""Transfer syntaxes an identifier may come in."""

PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1."
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2."
"""What the SOP classes of the two information models start with (PS3.4 C.6.1.3 and C.6.2.3)."""
FIND, MOVE, GET = "1", "2", "3"
"""What they end with."""

_NOT_KEYS = frozenset(
    {
        SPECIFIC_CHARACTER_SET,
        QUERY_RETRIEVE_LEVEL,
        RETRIEVE_AE_TITLE,
        INSTANCE_AVAILABILITY,
        TIMEZONE_OFFSET,
    }
)
_UNIQUE_KEYS = {
    Level.PATIENT: PATIENT_ID,
    Level.STUDY: STUDY_INSTANCE_UID,
    Level.SERIES: SERIES_INSTANCE_UID,
    Level.IMAGE: SOP_INSTANCE_UID,
}

MOST_KEYS: Final = 2000
"""Keys of one data set of an identifier; the models define some hundreds (PS3.4 C.3.4)."""
MOST_VALUES: Final = 10_000
"""Values in the list of one key of a query."""
LONGEST_VALUE: Final = 1 << 15
"""Characters of one value to match by; patterns have to stay within what a database compares."""

TEXT_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs whose text is in the Specific Character Set (PS3.5 6.1.2.3)."""
SINGLE_VALUE_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})
"""VRs in which a backslash is a character, not a delimiter (PS3.5 6.4)."""
NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
"""VRs of binary numbers, with the letter `struct` calls each by."""
BYTES_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
"""VRs that no key can be matched by; such a key only asks for return."""

_AnyUID = TypeVar("_AnyUID", bound=UID)
_PERSON_NAME_DELIMITERS = set(b"\\^=")
_TEXT_DELIMITERS = set(b"\\\r\n\f\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestIdentifier:
    """What the identifier of a C-FIND, C-GET or C-MOVE request asks for."""

    level: Level
    keys: tuple[Key, ...]
    charset: str = ""
    """Specific Character Set (0008,0005) as it was sent."""
    availability: bool = False
    """Whether Instance Availability (0008,0056) is asked for."""

    def query(self, *, patient_root: bool) -> Query:
        """The query of a C-FIND request.

        Raises:
            MalformedQuery: a key has more to match by than a catalog can be asked for at once.
        """
        _bound(self.keys)
        return Query(level=self.level, keys=self.keys, patient_root=patient_root)

    def selection(self) -> Selection:
        """The instances a C-GET or C-MOVE asks for by unique keys (PS3.4 C.4.2.2.1).

        Raises:
            MalformedQuery: the unique key of the level is missing, or a key is not unique.
        """
        given = {key.tag: key.value for key in self.keys if key.value}
        if _UNIQUE_KEYS[self.level] not in given:
            raise MalformedQuery("the unique key of its level is missing")
        return Selection(
            issuer=given.get(ISSUER_OF_PATIENT_ID),
            patient_id=_single(given.get(PATIENT_ID)),
            studies=_uids(StudyUID, given.get(STUDY_INSTANCE_UID)),
            series=_uids(SeriesUID, given.get(SERIES_INSTANCE_UID)),
            instances=_uids(InstanceUID, given.get(SOP_INSTANCE_UID)),
        )


def parse(encoded: bytes, transfer_syntax: str, *, patient_root: bool, limit: int) -> RequestIdentifier:
    """Read an encoded identifier of the Patient Root or Study Root model.

    Raises:
        MalformedQuery: it is longer than `limit`, cannot be read, or names no level of the model.
    """
    dataset = _read(encoded, transfer_syntax, limit)
    try:
        charset = _text(dataset, SPECIFIC_CHARACTER_SET)
        return RequestIdentifier(
            level=_level(_text(dataset, QUERY_RETRIEVE_LEVEL), patient_root),
            keys=tuple(sorted(_keys(dataset, encodings_of(charset)), key=lambda key: key.tag)),
            charset=charset,
            availability=INSTANCE_AVAILABILITY in dataset,
        )
    except MalformedQuery:
        raise
    except Exception as error:  # whatever a parser makes of hostile bytes, RecursionError included
        raise MalformedQuery("its identifier is not a data set") from error


def encodings_of(charset: str) -> list[str]:
    """Python's names for a Specific Character Set (PS3.3 C.12.1.1.2); empty for the default repertoire."""
    names = [name.strip() for name in charset.split("\\")]
    if names[0] in STAND_ALONE_ENCODINGS:
        names = names[:1]
    if names == [""] or any(name not in python_encoding for name in names):
        return []
    return [python_encoding[name] for name in names]


def _read(encoded: bytes, transfer_syntax: str, limit: int) -> Dataset:
    """The data set with its elements still raw."""
    if transfer_syntax not in SYNTAXES:
        raise MalformedQuery("its transfer syntax is not one of identifiers")
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        encoded = _inflate(encoded, limit)
    if len(encoded) > limit:
        raise MalformedQuery("its identifier is too long")
    implicit = transfer_syntax == ImplicitVRLittleEndian
    little = transfer_syntax != ExplicitVRBigEndian
    try:
        return read_dataset(BytesIO(encoded), implicit, little)
    except Exception as error:  # whatever a parser makes of hostile bytes, RecursionError included
        raise MalformedQuery("its identifier is not a data set") from error


def _inflate(encoded: bytes, limit: int) -> bytes:
    """At most one byte more than `limit` of a deflated data set (PS3.5 A.5)."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded, limit + 1)
    except zlib.error as error:
        raise MalformedQuery("its identifier is not deflated") from error


def _level(text: str, patient_root: bool) -> Level:
    try:
        level = Level[text.upper()]
    except KeyError:
        raise MalformedQuery("it names no Query/Retrieve Level") from None
    if level is Level.PATIENT and not patient_root:
        raise MalformedQuery("its level is not one of the information model")
    return level


def _text(dataset: Dataset, tag: int) -> str:
    """The ASCII text of an element that steers the reading of the others."""
    element = dataset.get_item(tag)
    value = element.value if element is not None else b""
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else ""


def _bound(keys: Sequence[Key]) -> None:
    for key in keys:
        values = key.value.split("\\")
        if len(values) > MOST_VALUES or max(map(len, values)) > LONGEST_VALUE:
            raise MalformedQuery("a key in it has too much to match by")
        _bound(key.items)


def _keys(dataset: Dataset, encodings: Sequence[str]) -> Iterator[Key]:
    if len(dataset) > MOST_KEYS:
        raise MalformedQuery("it has too many keys")
    for element in dataset.values():
        tag = int(element.tag)
        if tag & 0xFFFF and tag >> 16 >= 0x0008 and tag not in _NOT_KEYS:
            yield _key(tag, element, encodings)


def _key(tag: int, element: object, encodings: Sequence[str]) -> Key:
    """One element as a key; what has no text to match by becomes a key for return."""
    value = getattr(element, "value", None)
    sent = str(getattr(element, "VR", None) or "UN")
    vr = vr_of(tag) if sent == "UN" else sent
    if vr == "SQ":
        return Key(tag=tag, vr=vr, items=_items(element, sent, value, encodings))
    if not isinstance(value, bytes) or not value:
        return Key(tag=tag, vr=vr)
    if len(value) != getattr(element, "length", len(value)) and getattr(element, "length", 0) != 0xFFFFFFFF:
        raise MalformedQuery("its identifier is truncated")
    little = bool(getattr(element, "is_little_endian", True))
    return Key(tag=tag, vr=vr, value=_value(vr, value, little, encodings))


def vr_of(tag: int) -> str:
    """The first VR the data dictionary has for the tag; UN for private ones."""
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


def _items(element: object, sent: str, value: object, encodings: Sequence[str]) -> tuple[Key, ...]:
    """The keys of the one item of a sequence (PS3.4 C.2.2.2.6)."""
    if isinstance(value, bytes):
        implicit = bool(getattr(element, "is_implicit_VR", True)) or sent == "UN"
        value = convert_SQ(value, implicit, bool(getattr(element, "is_little_endian", True)))
    items = list(cast("Sequence[Dataset]", value or ()))
    if len(items) > 1:
        raise MalformedQuery("a sequence in it has more than one item")
    return tuple(_keys(items[0], encodings)) if items else ()


def _value(vr: str, value: bytes, little: bool, encodings: Sequence[str]) -> str:
    if vr in NUMBERS:
        return _numbers(NUMBERS[vr], value, little)
    if vr == "AT":
        halves = struct.unpack(f"{'<' if little else '>'}{len(value) // 2}H", value)
        return "\\".join(
            f"{group:04X}{element:04X}" for group, element in zip(halves[::2], halves[1::2], strict=True)
        )
    if vr in BYTES_VRS:
        return ""
    text = _decoded(vr, value, encodings)
    if vr in SINGLE_VALUE_VRS:
        return text.rstrip(" \0")
    return "\\".join(part.strip(" \0") for part in text.split("\\"))


def _numbers(letter: str, value: bytes, little: bool) -> str:
    count = len(value) // struct.calcsize(letter)
    return "\\".join(map(str, struct.unpack(f"{'<' if little else '>'}{count}{letter}", value)))


def _decoded(vr: str, value: bytes, encodings: Sequence[str]) -> str:
    """Text by the character set; UTF-8 or Latin-1 where none was declared although one was needed."""
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    if vr not in TEXT_VRS or not encodings:
        return _undeclared(value)
    if b"\x1b" in value and len(encodings) > 1:
        return decode_bytes(value, encodings, _PERSON_NAME_DELIMITERS if vr == "PN" else _TEXT_DELIMITERS)
    return value.decode(encodings[0], "replace")


def _undeclared(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _single(text: str | None) -> str | None:
    if text is not None and "\\" in text:
        raise MalformedQuery("a key that takes one value has several")
    return text


def _uids(kind: Callable[[str], _AnyUID], text: str | None) -> tuple[_AnyUID, ...]:
    """The UIDs of a list (PS3.4 C.2.2.2.2)."""
    try:
        return tuple(kind(part) for part in text.split("\\")) if text else ()
    except MalformedIdentifier as error:
        raise MalformedQuery("a unique key is not a UID") from error
