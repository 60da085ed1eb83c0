"""Random data sets as bytes, written by an encoder in which neither the node nor pydicom has a hand."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

LONG = {"OB", "OW", "SQ", "UN", "UT", "UC", "UR", "OF", "OD", "OL", "OV", "SV", "UV"}
UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Element:
    """One element with its encoded value."""

    tag: int
    vr: str
    value: bytes


@dataclass(frozen=True)
class Sequence:
    """A sequence; with lengths or delimiters, and as UN where its reader does not know better."""

    tag: int
    items: tuple[tuple[tuple[Node, ...], bool], ...]
    """The elements of each item, and whether its length is undefined."""
    undefined: bool
    unknown: bool


Node: TypeAlias = Element | Sequence

SYNTAXES = {
    "1.2.840.10008.1.2": ("<", True),
    "1.2.840.10008.1.2.1": ("<", False),
    "1.2.840.10008.1.2.2": (">", False),
}


def encode(nodes: tuple[Node, ...], order: str, *, implicit: bool) -> bytes:
    """The bytes of a data set."""
    return b"".join(_node(node, order, implicit=implicit) for node in nodes)


def _node(node: Node, order: str, *, implicit: bool) -> bytes:
    if isinstance(node, Element):
        return _header(node.tag, node.vr, len(node.value), order, implicit=implicit) + node.value
    unknown = node.unknown and node.undefined and order == "<"
    inner = implicit or unknown
    body = b"".join(_item(item, order, undefined, implicit=inner) for item, undefined in node.items)
    length = UNDEFINED if node.undefined else len(body)
    end = _plain(0xFFFEE0DD, 0, order) if node.undefined else b""
    return _header(node.tag, "UN" if unknown else "SQ", length, order, implicit=implicit) + body + end


def _item(item: tuple[Node, ...], order: str, undefined: bool, *, implicit: bool) -> bytes:
    body = encode(item, order, implicit=implicit)
    if undefined:
        return _plain(0xFFFEE000, UNDEFINED, order) + body + _plain(0xFFFEE00D, 0, order)
    return _plain(0xFFFEE000, len(body), order) + body


def _plain(tag: int, length: int, order: str) -> bytes:
    return struct.pack(order + "HHI", tag >> 16, tag & 0xFFFF, length)


def _header(tag: int, vr: str, length: int, order: str, *, implicit: bool) -> bytes:
    if implicit:
        return _plain(tag, length, order)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    return head + (struct.pack(order + "HI", 0, length) if vr in LONG else struct.pack(order + "H", length))


_TEXT = st.text("ABCxyz019 ^*.-", max_size=12).map(lambda text: text.encode() + b" " * (len(text) % 2))
_BYTES = st.binary(max_size=9).map(lambda value: value + b"\0" * (len(value) % 2))
_TEXT_TAGS = {
    0x00080050: "SH", 0x0008103E: "LO", 0x00100010: "PN", 0x00100020: "LO", 0x00104000: "LT",
    0x00181030: "LO", 0x00200010: "SH", 0x00080090: "PN", 0x00081070: "PN",
}  # fmt: skip
_SEQUENCE_TAGS = (0x00081032, 0x00080051, 0x00101002, 0x00400275, 0x0040A043)
_texts = st.sampled_from(sorted(_TEXT_TAGS)).flatmap(
    lambda tag: st.builds(Element, st.just(tag), st.just(_TEXT_TAGS[tag]), _TEXT)
)
_numbers = st.builds(
    Element,
    st.sampled_from((0x00280010, 0x00280011, 0x00280100)),
    st.just("US"),
    st.binary(min_size=2, max_size=2),
)
_private = st.builds(
    Element,
    st.integers(0x0009, 0x00FF).map(lambda group: (group | 1) << 16 | 0x1010),
    st.sampled_from(("UN", "LO", "OB", "UT", "US")),
    _BYTES,
)
_bulk = st.builds(Element, st.just(0x7FE00010), st.just("OW"), _BYTES)
_leaves = st.one_of(_texts, _numbers, _private)


def _unique(nodes: list[Node]) -> tuple[Node, ...]:
    """In the order of tags, each once, as the standard wants it (PS3.5 7.1)."""
    return tuple(node for _, node in sorted({node.tag: node for node in nodes}.items()))


def _sequences(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    items = st.tuples(st.lists(inner, max_size=4).map(_unique), st.booleans())
    return st.builds(
        Sequence,
        st.sampled_from(_SEQUENCE_TAGS) | st.just(0x00291020),
        st.lists(items, max_size=3).map(tuple),
        st.booleans(),
        st.booleans(),
    )


nodes = st.recursive(_leaves, _sequences, max_leaves=10)
data_sets = st.lists(nodes | _bulk, max_size=10).map(_unique)
"""Data sets in the order of tags."""
