"""Opening studies for people: what is elsewhere comes while they look."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence

import pytest

from node.domain.errors import Forbidden, PeerUnreachable, TooBusy, UnknownStudy
from node.domain.ids import Digest, InstanceUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.instance import Instance
from node.domain.principal import Action, Principal
from node.domain.query import Selection
from node.identity.persons import person
from node.replication.read_through import Retrieval
from services.portal.opening import Opening
from tests.support import synthetic
from tests.support.sites import BRNO

STUDY = StudyUID("1.2.3")
JANA = person(issuer="https://idp.test", name="jana@hospital-brno.test", site=BRNO)


def one(number: int) -> Instance:
    return Instance(
        uid=InstanceUID(f"1.2.3.{number}"),
        series=synthetic.series_uid(1, 1),
        study=STUDY,
        sop_class=SOPClassUID("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax=TransferSyntaxUID("1.2.840.10008.1.2.1"),
        digest=Digest("0" * 64),
        size=1,
    )


class Elsewhere:
    """A study of two instances, of which one is here, and one comes when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked = 0
        self.refuses = False
        self.fails = False

    def select(self, principal: Principal, selection: Selection, *, destination: str = "") -> list[Instance]:
        if self.refuses:
            raise Forbidden(principal, Action.RETRIEVE, "it was taken back")
        return [one(1)]

    def open(self, instance: Instance) -> None:
        raise AssertionError

    def retrieve(self, principal: Principal, selection: Selection, *, destination: str = "") -> Retrieval:
        self.asked += 1
        self.select(principal, selection)
        missing = {one(2).uid: None}
        return Retrieval(2, self._portions(missing), missing)

    def _portions(self, missing: dict[InstanceUID, None]) -> Generator[Sequence[Instance] | None]:
        yield [one(1)]
        yield None
        self.let.wait(20)
        if self.fails:
            raise PeerUnreachable("prague", "the line was cut")
        missing.clear()
        yield [one(2)]


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


def opening(of: Elsewhere, *, patience: float = 0.05, many: int = 8) -> Opening:
    return Opening(of, of, patience=patience, many=many)  # type: ignore[arg-type]


def test_what_is_here_is_told_before_the_rest_has_come(elsewhere: Elsewhere) -> None:
    doors = opening(elsewhere)
    first = doors.open(JANA, STUDY)
    assert (first.is_done, first.total, first.missing) == (False, 2, 1)
    elsewhere.let.set()
    later = doors.open(JANA, STUDY)
    while not later.is_done:
        later = doors.open(JANA, STUDY)
    assert {instance.uid for instance in later.instances} >= {one(1).uid}


def test_looking_again_does_not_fetch_again(elsewhere: Elsewhere) -> None:
    doors = opening(elsewhere)
    doors.open(JANA, STUDY)
    doors.open(JANA, STUDY)
    assert elsewhere.asked == 1
    elsewhere.let.set()


def test_looking_again_asks_the_policy_again(elsewhere: Elsewhere) -> None:
    doors = opening(elsewhere)
    doors.open(JANA, STUDY)
    elsewhere.refuses = True
    with pytest.raises(Forbidden):
        doors.open(JANA, STUDY)
    elsewhere.let.set()


def test_what_did_not_come_is_said(elsewhere: Elsewhere) -> None:
    elsewhere.fails = True
    elsewhere.let.set()
    opened = opening(elsewhere, patience=20).open(JANA, STUDY)
    assert (opened.is_done, opened.missing, len(opened.instances)) == (True, 1, 1)


def test_only_so_many_studies_come_at_once(elsewhere: Elsewhere) -> None:
    doors = opening(elsewhere, many=1)
    doors.open(JANA, STUDY)
    with pytest.raises(TooBusy):
        doors.open(JANA, StudyUID("1.2.4"))
    elsewhere.let.set()


def test_a_place_is_free_again_when_a_study_was_refused(elsewhere: Elsewhere) -> None:
    doors = opening(elsewhere, many=1, patience=20)
    elsewhere.refuses = True
    for _ in range(3):
        with pytest.raises(Forbidden):
            doors.open(JANA, STUDY)
    elsewhere.refuses = False
    elsewhere.let.set()
    assert doors.open(JANA, STUDY).is_done


def test_a_study_that_nobody_has_is_unknown(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> Retrieval:
        return Retrieval(0, (portion for portion in ()), {})  # type: ignore[arg-type]

    monkeypatch.setattr(elsewhere, "retrieve", nothing)
    with pytest.raises(UnknownStudy):
        opening(elsewhere, patience=20).open(JANA, STUDY)
