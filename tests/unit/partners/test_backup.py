"""A backup at a foreign archive is a closed loop: nothing is sent twice, and only commitment is proof."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from node.domain.commitment import Reason
from node.domain.errors import ForeignRefused, PeerUnreachable
from node.domain.ids import UID, AETitle, StudyUID
from node.domain.partner import Partner, Role
from node.domain.principal import Action, Device, Kind, Principal
from node.domain.query import Selection
from node.domain.rule import Match
from node.partners.backup import ASK_AGAIN, Backup, answered
from node.partners.book import PartnerBook
from node.partners.foreign import Offers
from node.partners.report import of_backup
from tests.support import synthetic
from tests.support.foreign import Away, FakeForeign
from tests.support.sites import BRNO, OPERATOR, TestSite, site

PACS = AETitle("PACS")
NODE = Principal(kind=Kind.NODE, name="brno", site=BRNO, may=frozenset({Action.RETRIEVE}))
WITH_COMMITMENT = Offers(find=True, commitment=True)


class Setup:
    """A site, a foreign archive, and the backup of one at the other."""

    def __init__(self, here: TestSite, **options: object) -> None:
        self.here = here
        self.foreign = FakeForeign()
        self.numbers = count(1)
        self.book = PartnerBook(here.catalog)
        here.devices.add(OPERATOR, Device(ae_title=PACS, host="10.0.0.9", port=104))
        self.book.add(OPERATOR, Partner(ae_title=PACS, roles=frozenset({Role.BACKUP}), **options))  # type: ignore[arg-type]

    @property
    def backup(self) -> Backup:
        return Backup(
            self.here.archive,
            self.here.catalog,
            self.book.find(PACS),
            self.foreign,
            NODE,
            new_uid=lambda: UID(f"2.25.{next(self.numbers)}"),
        )

    def admit(self, study: int, size: int = 1, **more: object) -> None:
        for content in synthetic.study(size, study=study, **more):
            self.here.admit(content)

    def report(self):
        return of_backup(self.here.catalog, self.book.find(PACS))

    def stores(self) -> int:
        return self.foreign.calls.count("store")


@pytest.fixture
def setup() -> Iterator[Setup]:
    with site() as here:
        yield Setup(here)


def study_of(number: int) -> Selection:
    return Selection(studies=(StudyUID(synthetic.study_uid(number)),))


def test_what_has_arrived_is_sent_once_and_found(setup):
    setup.admit(1, 3)
    setup.admit(2, 2)
    setup.backup.soon()
    setup.backup.soon()
    setup.backup.whole()
    assert setup.stores() == len(setup.foreign.kept) == 5
    told = setup.report()
    assert (told.ought, told.found, told.committed, told.missing, told.withdrawn) == (5, 5, 0, 0, 0)
    assert told.is_whole


def test_nobody_is_called_while_nothing_has_arrived(setup):
    setup.admit(1)
    setup.backup.soon()
    setup.foreign.calls.clear()
    setup.backup.soon()
    assert setup.foreign.calls == []


def test_what_the_partner_has_already_is_not_sent(setup):
    setup.admit(1, 2)
    setup.foreign.hold(1, number=1)
    setup.backup.soon()
    assert setup.stores() == 1


def test_only_what_the_rules_say_is_sent():
    with site() as here:
        setup = Setup(here, match=Match(modalities=("MR",)))
        setup.admit(1)
        setup.admit(2, modality="MR")
        setup.backup.soon()
        setup.backup.whole()
        assert [one.study for one in setup.foreign.kept.values()] == [synthetic.study_uid(2)]
        assert (setup.report().ought, setup.report().is_whole) == (1, True)


def test_a_study_whose_numbers_agree_is_not_looked_at_by_its_instances_unless_that_is_asked_for(setup):
    setup.admit(1, 3)
    setup.backup.soon()
    setup.foreign.calls.clear()
    setup.backup.whole()
    assert set(setup.foreign.calls) == {"study", "offers"}
    setup.backup.whole(by_uid=True)
    assert "instances" in setup.foreign.calls


def test_what_the_partner_lost_is_noticed_by_its_number_told_and_sent_again(setup):
    setup.admit(1, 3)
    setup.backup.soon()
    lost = next(iter(setup.foreign.kept))
    del setup.foreign.kept[lost]
    setup.backup.whole(send=False)
    (problem,) = setup.report().problems
    assert (problem.instance, problem.why) == (lost, "it was found and is not there any more")
    setup.backup.whole()
    assert lost in setup.foreign.kept
    assert setup.report().is_whole


def test_only_commitment_counts_as_proof(setup):
    setup.foreign.what = WITH_COMMITMENT
    setup.admit(1, 3)
    spoilt = synthetic.instance_uid(1, 1, 2)
    setup.foreign.vouches_not[spoilt] = Reason.PROCESSING_FAILURE
    setup.backup.soon()
    told = setup.report()
    assert (told.committed, told.found) == (2, 1)
    assert [len(wanted) for _, wanted in setup.foreign.asked] == [3]


def test_an_answer_that_comes_later_is_taken_twice_and_one_to_another_question_not_at_all(setup):
    setup.foreign.what, setup.foreign.commits_at_once = WITH_COMMITMENT, False
    setup.admit(1, 2)
    setup.backup.soon()
    assert setup.report().committed == 0
    ((transaction, wanted),) = setup.foreign.asked
    vouched = setup.foreign.vouched(wanted)
    for partner, number in ((PACS, UID("2.25.99")), (AETitle("OTHER"), transaction)):
        with pytest.raises(ForeignRefused):
            answered(setup.here.catalog, partner, number, vouched)
    answered(setup.here.catalog, PACS, transaction, vouched)
    answered(setup.here.catalog, PACS, transaction, vouched)
    assert setup.report().committed == 2


def test_commitment_that_is_not_answered_is_asked_for_again_after_a_while(setup):
    setup.foreign.what, setup.foreign.commits_at_once = WITH_COMMITMENT, False
    setup.admit(1)
    setup.backup.soon()
    setup.backup.whole()
    assert len(setup.foreign.asked) == 1
    setup.here.clock.forward(ASK_AGAIN / 1e6 + 1)
    setup.backup.whole()
    assert len(setup.foreign.asked) == 2


def test_what_a_partner_says_it_does_not_have_is_looked_for_again(setup):
    setup.foreign.what = WITH_COMMITMENT
    setup.admit(1)
    (uid,) = [synthetic.instance_uid(1, 1, 1)]
    setup.foreign.vouches_not[uid] = Reason.NO_SUCH_INSTANCE
    setup.backup.soon()
    assert setup.report().problems[0].why == "the partner says that it does not have it"


def test_what_was_there_before_is_found_and_never_committed(setup):
    """Its bytes at the partner may be other ones than those that are here."""
    setup.foreign.what = WITH_COMMITMENT
    setup.admit(1)
    setup.foreign.hold(1)
    setup.backup.soon()
    assert (setup.report().found, setup.report().committed, setup.foreign.asked) == (1, 0, [])


def test_what_was_refused_is_told_with_the_reason_and_tried_again_daily_only(setup):
    setup.admit(1, 2)
    uid = synthetic.instance_uid(1, 1, 1)
    setup.foreign.refuses[uid] = "it answered with status C000"
    setup.backup.soon()
    setup.backup.soon()
    told = setup.report()
    assert (told.refused, told.found, told.is_whole, setup.stores()) == (1, 1, False, 2)
    assert (told.problems[0].instance, told.problems[0].why) == (uid, "it answered with status C000")
    setup.foreign.refuses.clear()
    setup.backup.whole()
    assert (setup.stores(), setup.report().is_whole) == (3, True)


def test_what_was_taken_and_is_not_listed_is_not_sent_again_and_again(setup):
    setup.admit(1)
    setup.foreign.forgets.add(synthetic.instance_uid(1, 1, 1))
    for _ in range(5):
        setup.backup.soon()
        setup.here.clock.forward(200)
    assert setup.stores() == 1
    assert setup.report().problems[0].why == "it was taken and is not listed there"


def test_what_is_withdrawn_is_not_sent_and_what_was_sent_before_is_told(setup):
    setup.admit(1)
    setup.admit(2)
    setup.here.archive.retract(OPERATOR, study_of(1), "wrong patient")
    setup.backup.soon()
    assert [one.study for one in setup.foreign.kept.values()] == [synthetic.study_uid(2)]
    setup.here.archive.retract(OPERATOR, study_of(2), "wrong patient")
    setup.backup.whole()
    told = setup.report()
    assert (told.withdrawn, told.ought, told.is_whole) == (1, 0, False)
    assert told.left_behind[0].study == synthetic.study_uid(2)
    setup.foreign.kept.clear()
    setup.backup.whole()
    assert setup.report().is_whole


def test_what_arrives_in_the_place_of_what_was_withdrawn_is_sent_soon(setup):
    """A row of the catalog that has gone is given to the next arrival."""
    setup.admit(1)
    setup.backup.soon()
    setup.here.archive.retract(OPERATOR, study_of(1), "wrong patient")
    setup.backup.soon()
    setup.admit(2)
    setup.backup.soon()
    assert synthetic.study_uid(2) in {one.study for one in setup.foreign.kept.values()}


def test_what_is_restored_is_sent_again(setup):
    setup.admit(1)
    setup.here.archive.retract(OPERATOR, study_of(1), "wrong patient")
    setup.backup.whole()
    setup.here.archive.restore(OPERATOR, study_of(1), "it was the right one")
    setup.backup.soon()
    assert setup.stores() == 1
    assert setup.report().is_whole


@pytest.mark.parametrize("broken", range(1, 17))
def test_a_line_that_is_cut_anywhere_costs_nothing_but_time(setup, broken):
    setup.foreign.what = WITH_COMMITMENT
    setup.admit(1, 4)
    setup.foreign.trouble = Away(broken)
    with pytest.raises(PeerUnreachable):
        setup.backup.soon()
        setup.backup.whole()
    setup.here.crash()
    setup.book = PartnerBook(setup.here.catalog)
    setup.here.clock.forward(ASK_AGAIN / 1e6 + 1)
    setup.backup.soon()
    setup.backup.whole()
    assert setup.report().committed == 4
    assert len(setup.foreign.taken) == len(set(setup.foreign.taken)) == 4


def test_what_goes_out_is_in_the_audit(setup):
    setup.admit(1, 2)
    setup.backup.soon()
    deeds = [row[0] for row in setup.here.rows("SELECT deed FROM audit WHERE deed LIKE '%: sent%'")]
    assert len(deeds) == 1
    assert "node:brno@brno" in deeds[0] and "2 instances to PACS" in deeds[0]
    assert synthetic.study_uid(1) in deeds[0]


def test_a_report_is_not_whole_before_everything_was_compared(setup):
    setup.admit(1)
    setup.backup.soon()
    assert not setup.report().is_whole
    setup.backup.whole()
    assert setup.report().is_whole
