"""A service that exists in the tests alone: every kind of value, fault and answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from lxml import etree

from node.domain.errors import Forbidden, NodeError, UnknownInstance
from services.soap.framework.blob import Blob
from services.soap.framework.model import Count, DigestText, Many, ShortText, Text, UidText
from services.soap.framework.service import Call, Service, operation


class State(StrEnum):
    """How sure a shelf is of a box."""

    OWED = "owed"
    VERIFIED = "verified"


Label = Annotated[str, Text(name="Label", longest=16, pattern="[A-Z]+", doc="Capitals.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box on a shelf.

    Attributes:
        uid: its name.
        seen_at: when it was last looked at.
    """

    uid: UidText
    digest: DigestText | None = None
    size: Count
    state: State
    seen_at: datetime | None = None
    labels: Annotated[tuple[Label, ...], Many(up_to=4)] = ()
    open: bool = False


class Shelf(Service):
    """Boxes, kept in order.

    A second paragraph, to see it in the document.
    """

    name, path, version = "Shelf", "shelf", 1

    def __init__(self, act: Callable[..., Any] = lambda *given: None) -> None:
        self.act = act
        self.calls: list[Call] = []

    @operation(result="box", faults=(UnknownInstance,))
    def stat(self, call: Call, uid: UidText) -> Box:
        """Say what is known of a box.

        Args:
            uid: the name of the box.

        Returns:
            The box as it stands.
        """
        self.calls.append(call)
        self.act(uid)
        return Box(uid=uid, size=3, state=State.OWED)

    @operation()
    def put_box(self, call: Call, box: Box) -> None:
        """Put a box."""
        self.act(box)

    @operation(result="box")
    def list_boxes(
        self, call: Call, uid: Annotated[tuple[UidText, ...], Many(up_to=1000)]
    ) -> tuple[Box, ...]:
        """List boxes by name."""
        return tuple(Box(uid=one, size=n, state=State.VERIFIED) for n, one in enumerate(uid))

    @operation(result="size", faults=(Forbidden,))
    def store(self, call: Call, name: ShortText, content: Blob) -> Count:
        """Take bytes."""
        self.act(name, content)
        return content.size

    @operation(result="content")
    def fetch(self, call: Call, name: ShortText) -> Blob:
        """Give bytes."""
        given = self.act(name)
        assert isinstance(given, Blob)
        return given

    @operation(raw=True, result="box")
    def bulk(self, call: Call, uid: Annotated[tuple[UidText, ...], Many(up_to=1000)]) -> tuple[Box, ...]:
        """List boxes without values in between."""
        made: etree._Element = self.act(call.body)
        return made  # type: ignore[return-value]


class Raising(Shelf):
    """A shelf that answers with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(self._fail)
        self._error = error

    def _fail(self, *given: object) -> None:
        raise self._error


__all__ = ["Box", "NodeError", "Raising", "Shelf", "State"]
