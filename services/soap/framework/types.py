"""The types of one contract as spyne declares them, in the namespace of that contract alone."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import services.soap.framework.compat  # noqa: F401  (spyne cannot be imported without it)
from services.soap.framework.blob import Blob
from services.soap.framework.model import Member, Text, Whole, fields_of

from spyne import Boolean, ByteArray, ComplexModel, DateTime, Double, Enum, Long, Unicode, UnsignedLong  # isort: skip

PLAIN: dict[type, Any] = {
    str: Unicode,
    int: Long,
    bool: Boolean,
    float: Double,
    datetime: DateTime(timezone=True),
    bytes: ByteArray,
    Blob: ByteArray,
}
"""The spyne type of each Python type that has no members."""


class Types:
    """Makes the spyne type of a member; the same one each time, so that it is published once."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._made: dict[Any, Any] = {}
        self._names: dict[str, Any] = {}
        self.texts: dict[str, Text] = {}
        """The limited strings that were asked for, by name; spyne holds their names alone."""

    def of(self, member: Member) -> Any:
        """The type of a member with its occurrences; nothing is nillable, absence is absence."""
        return self._one(member).customize(min_occurs=member.least, max_occurs=member.most, nillable=False)

    def record(self, name: str, members: tuple[Member, ...]) -> Any:
        """A complex type with these members."""
        return ComplexModel.produce(self._namespace, name, [(one.tag, self.of(one)) for one in members])

    def _one(self, member: Member) -> Any:
        key = member.limit if isinstance(member.limit, Text) else (member.of, member.limit)
        if key not in self._made:
            self._made[key] = self._make(member)
        return self._made[key]

    def _make(self, member: Member) -> Any:
        if isinstance(member.limit, Text):
            return self._text(member.limit)
        if isinstance(member.limit, Whole):
            return UnsignedLong
        if member.is_record:
            self._claim(member.of.__name__, member.of)
            return self.record(member.of.__name__, fields_of(member.of))
        if issubclass(member.of, enum.StrEnum):
            return self._enumeration(member.of)
        return PLAIN[member.of]

    def _text(self, limit: Text) -> Any:
        self._claim(limit.name, limit)
        self.texts[limit.name] = limit
        return type(limit.name, (Unicode,), {"__type_name__": limit.name, "__namespace__": self._namespace})

    def _enumeration(self, kind: type[enum.StrEnum]) -> Any:
        self._claim(kind.__name__, kind)
        made = Enum(*(value.value for value in kind), type_name=kind.__name__)
        made.__namespace__ = self._namespace
        return made

    def _claim(self, name: str, owner: Any) -> None:
        """Take a name in the namespace.

        Raises:
            TypeError: something else has it.
        """
        if self._names.setdefault(name, owner) is not owner and self._names[name] != owner:
            raise TypeError(f"two types of {self._namespace} are called {name}")
