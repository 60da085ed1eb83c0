"""Callers that arrive at the worst moment are neither forgotten nor kept waiting for ever."""

from __future__ import annotations

from threading import Thread

import pytest

from node.catalog.catalog import _Ticket
from node.domain.errors import CatalogBusy
from node.journal.entry import Fact
from tests.support.sites import site

PATIENCE = 20


class Interrupted(list):
    """A queue in which somebody lines up just after a group was read from it."""

    arrive = staticmethod(lambda: None)

    def __getitem__(self, index):
        read = super().__getitem__(index)
        arrive, self.arrive = self.arrive, lambda: None
        arrive()
        return read


def test_who_arrives_while_a_group_is_taken_is_served_too():
    with site() as brno:
        queue = brno.catalog._queue = Interrupted()
        late = Thread(target=brno.catalog.perform, args=(append("late"),), daemon=True)

        def arrive() -> None:
            late.start()
            while not len(queue) > 1:
                pass

        queue.arrive = arrive
        brno.catalog.perform(append("first"))
        late.join(PATIENCE)
        assert not late.is_alive()
        with brno.catalog.reading() as unit:
            assert [entry.says["uid"] for entry in unit.journal.after(0)] == ["first", "late"]


def test_who_waits_for_somebody_that_is_interrupted_is_told():
    def interrupted(unit) -> None:
        raise KeyboardInterrupt

    class Accompanied(Interrupted):
        """A queue in which a neighbour waits already."""

        def append(self, ticket) -> None:
            super().append(ticket)
            super().append(neighbour)

    with site() as brno:
        neighbour = _Ticket(append("neighbour"))
        brno.catalog._queue = Accompanied()
        with pytest.raises(KeyboardInterrupt):
            brno.catalog.perform(interrupted)
        with pytest.raises(CatalogBusy):
            neighbour.outcome()
        brno.catalog._queue = []
        assert brno.catalog.perform(append("next")).seq == 1


def append(who: str):
    return lambda unit: unit.journal.append(Fact.INSTANCE, {"uid": who})
