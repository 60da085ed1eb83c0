"""An announcement is believed where it is about the journal entry that comes with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.chain import Head
from node.domain.change import Told
from node.domain.errors import Rejected
from node.domain.ids import Digest, InstanceUID, SeriesUID, SiteId, StudyUID
from node.journal.entry import Fact, canonical, follow
from node.replication.demand import entry_of
from node.replication.peer import Announced
from node.replication.telling import travelling

SAYS = {"uid": "1.2.3", "digest": "ab" * 32, "size": 7, "source": "device:CT1@prague", "syntax": "1.2"}


def announced(says: object = SAYS, kind: Fact = Fact.INSTANCE, payload: str | None = None) -> Announced:
    """What Prague announces with a fact that says this."""
    told = canonical(says) if payload is None else payload  # type: ignore[arg-type]
    entry = follow(Head(), origin=SiteId("prague"), epoch=1, at=5, kind=kind, payload=told)
    return Announced(
        uid=InstanceUID("1.2.3"),
        series=SeriesUID("1.2"),
        study=StudyUID("1"),
        digest=Digest("ab" * 32),
        size=7,
        origin=entry.origin,
        epoch=entry.epoch,
        entry=travelling(entry, owed=True),
    )


def test_the_fact_comes_out_as_the_origin_wrote_it():
    entry = entry_of(announced())
    assert (entry.origin, entry.epoch, entry.seq, entry.says) == ("prague", 1, 1, SAYS)


@pytest.mark.parametrize(
    "wrong",
    [
        announced(kind=Fact.RETRACT),
        announced({**SAYS, "uid": "1.2.4"}),
        announced({**SAYS, "digest": "cd" * 32}),
        announced({**SAYS, "size": 8}),
        announced({key: value for key, value in SAYS.items() if key != "source"}),
        announced({**SAYS, "syntax": None}),
        announced(payload="{"),
        announced(payload="[]"),
        announced(payload="[" * 100_000),
        replace(announced(), epoch=2),
        replace(announced(), origin=SiteId("brno")),
        replace(announced(), entry=Told(seq=1, previous="", hash="")),
    ],
)
def test_anything_else_is_not_believed(wrong):
    with pytest.raises(Rejected):
        entry_of(wrong)
