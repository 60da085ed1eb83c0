"""The device list as rows: who may associate, and who knocked without being known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, desc, func, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import AETitle
from node.domain.principal import Action, Device, Knock, Naming

if TYPE_CHECKING:
    from node.catalog.unit import Unit

KNOCKS_KEPT = 200
"""A stranger can make this many names wait, not more."""

_device, _knock = schema.device.c, schema.knock.c
_LIST = Statement(select(schema.device).order_by(_device.ae_title))
_FIND = Statement(select(schema.device).where(_device.ae_title == bindparam("which")))
_ADD = Statement(insert(schema.device))
_REMOVE = Statement(delete(schema.device).where(_device.ae_title == bindparam("which")))
_KNOCKED = (_knock.ae_title == bindparam("which"), _knock.address == bindparam("whence"))
_AGAIN = Statement(
    update(schema.knock)
    .where(*_KNOCKED)
    .values(
        count=_knock.count + 1,
        last_at=bindparam("now"),
        asked=bindparam("what"),
        called=bindparam("whom"),
    )
)
_ADD_KNOCK = Statement(insert(schema.knock))
_KNOCKS = Statement(select(schema.knock).order_by(desc(_knock.last_at)))
_COUNT_KNOCKS = Statement(select(func.count()).select_from(schema.knock))
_OLDEST_KNOCK = Statement(select(_knock.ae_title, _knock.address).order_by(_knock.last_at).limit(1))
_FORGET_ONE = Statement(delete(schema.knock).where(*_KNOCKED))
_FORGET = Statement(delete(schema.knock).where(_knock.ae_title == bindparam("which")))


class DeviceList:
    """Devices by AE title, and knocks by AE title and address."""

    def __init__(self, unit: Unit) -> None:
        """The list within a unit of work."""
        self._unit = unit

    def all(self) -> Sequence[Device]:
        """All devices by AE title."""
        return [_device_of(row) for row in self._unit.run(_LIST).fetchall()]

    def find(self, ae_title: str) -> Device | None:
        """The device of that AE title."""
        row = self._unit.run(_FIND, which=ae_title).fetchone()
        return _device_of(row) if row else None

    def put(self, device: Device) -> None:
        """Add the device or replace the one of that AE title; it need not knock any longer."""
        self._unit.run(_REMOVE, which=device.ae_title)
        self._unit.run(
            _ADD,
            ae_title=device.ae_title,
            host=device.host,
            port=device.port,
            may=",".join(sorted(device.may)),
            certificate=device.certificate,
            people=device.people,
        )
        self._unit.run(_FORGET, which=device.ae_title)

    def remove(self, ae_title: str) -> None:
        """Take the device off the list."""
        self._unit.run(_REMOVE, which=ae_title)

    def knocked(self, ae_title: str, address: str, *, called: str, asked: str) -> None:
        """Remember that a stranger asked for an association."""
        now = self._unit.now
        again = self._unit.run(
            _AGAIN, which=ae_title, whence=address, now=now, what=asked, whom=called
        ).rowcount
        if again:
            return
        self._make_room()
        self._unit.run(
            _ADD_KNOCK,
            ae_title=ae_title,
            address=address,
            called=called,
            asked=asked,
            count=1,
            first_at=now,
            last_at=now,
        )

    def knocks(self) -> Sequence[Knock]:
        """Strangers that wait for a decision, the latest first."""
        return [_knock_of(row) for row in self._unit.run(_KNOCKS).fetchall()]

    def _make_room(self) -> None:
        row = self._unit.run(_COUNT_KNOCKS).fetchone()
        if row and row[0] >= KNOCKS_KEPT:
            oldest = self._unit.run(_OLDEST_KNOCK).fetchone()
            if oldest:
                self._unit.run(_FORGET_ONE, which=oldest[0], whence=oldest[1])


def _device_of(row: Sequence[Any]) -> Device:
    ae_title, host, port, may, certificate, people = row
    return Device(
        ae_title=AETitle.trusted(ae_title),
        host=host,
        port=port,
        may=frozenset(Action(action) for action in may.split(",") if action),
        certificate=certificate,
        people=Naming(people or Naming.IGNORED),
    )


def _knock_of(row: Sequence[Any]) -> Knock:
    ae_title, address, called, asked, count, first_at, last_at = row
    return Knock(
        ae_title=ae_title,
        address=address,
        called=called,
        asked=asked,
        count=count,
        first_at=first_at,
        last_at=last_at,
    )
