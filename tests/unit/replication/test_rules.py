"""Rules at work: what they make owed of what is here already, and how they are explained."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.audit.record import Event, read
from node.domain.errors import Forbidden, Rejected, UnknownRule, UnknownStudy
from node.domain.ids import Digest, SiteId
from node.domain.job import Task
from node.domain.member import Member, Standing
from node.domain.query import Selection
from node.domain.replica import CopyState
from node.domain.rule import EVERYTHING, EVERYWHERE, NOTHING, Match, Rule, Terms
from node.journal.entry import Fact
from node.replication import rules
from node.replication.rules import RuleBook, described, reconsider
from tests.support import synthetic
from tests.support.sites import CT1, OPERATOR, TestSite, device, site

PRAGUE, OLOMOUC = SiteId("prague"), SiteId("olomouc")
CT = Rule(name="ct", match=Match(modalities=("CT",)), sites=(PRAGUE,))
STUDY = synthetic.study_uid(1)


@pytest.fixture
def brno() -> Iterator[TestSite]:
    """A site with two members, and an image of each of two modalities."""
    with site() as made:
        join(made, PRAGUE)
        join(made, OLOMOUC)
        made.admit(synthetic.instance(modality="CT"))
        made.admit(synthetic.instance(modality="MR", series=2), device("MR1"))
        yield made


def join(
    brno: TestSite, name: SiteId, export: Terms = EVERYTHING, standing: Standing = Standing.ACTIVE
) -> None:
    member = Member(
        site=name, descriptor="", certificates=(), fingerprints=(), version=1, url=None, ae_title="",
        standing=standing, introduced_by=SiteId("brno"), export=export,
    )  # fmt: skip
    brno.catalog.perform(lambda unit: unit.members.put(member))


def book(brno: TestSite) -> RuleBook:
    return RuleBook(brno.catalog)


def owed(brno: TestSite, name: SiteId) -> list[str]:
    """Modalities of the images of which a site owes copies."""
    sql = (
        "SELECT modality FROM replica JOIN instance ON instance.digest = replica.digest"
        " JOIN series ON series.id = instance.series"
    )
    return sorted(row[0] for row in brno.rows(f"{sql} WHERE site = '{name}' AND state = 'owed'"))


def jobs(brno: TestSite) -> list[str]:
    return [row[0] for row in brno.rows(f"SELECT key FROM job WHERE kind = '{Task.RECONSIDER}'")]


def digest(brno: TestSite, series: int = 1) -> Digest:
    with brno.catalog.reading() as unit:
        found = unit.instances.digest(synthetic.instance_uid(1, series, 1))
    assert found is not None
    return found


def put(brno: TestSite, name: SiteId, state: CopyState) -> None:
    """A site says of its copy of the CT that it is in that state."""
    with brno.catalog.begin() as unit:
        known = unit.replicas.of_digest(digest(brno))
        [old] = [one for one in known if one.site == name]
        unit.replicas.put(type(old)(
            instance=old.instance, digest=old.digest, site=name, state=state, size=old.size, at=unit.now,
        ))  # fmt: skip


# ---- the book


def test_a_rule_is_a_fact_a_record_and_a_job(brno):
    book(brno).add(OPERATOR, CT)
    assert list(book(brno).all()) == [CT]
    with brno.catalog.reading() as unit:
        [fact] = unit.journal.of_kind(Fact.RULE)
        told = [read(record.deed) for record in unit.audit.after()]
        assert list(rules.of(unit)) == [CT]
    assert (fact.says["name"], fact.says["by"]) == ("ct", str(OPERATOR))
    assert (told[-1].event, told[-1].who) == (Event.CONFIGURED, str(OPERATOR))
    assert len(jobs(brno)) == 1


def test_rules_stay_in_the_order_in_which_they_were_added(brno):
    for name in ("z", "m", "a"):
        book(brno).add(OPERATOR, Rule(name=name))
    book(brno).add(OPERATOR, Rule(name="m", copies=1), replace=True)
    book(brno).remove(OPERATOR, "z")
    book(brno).add(OPERATOR, Rule(name="z"))
    assert [(rule.name, rule.copies) for rule in book(brno).all()] == [("m", 1), ("a", None), ("z", None)]


def test_a_rule_is_not_changed_by_accident(brno):
    book(brno).add(OPERATOR, CT)
    with pytest.raises(Rejected, match="--replace"):
        book(brno).add(OPERATOR, Rule(name="ct"))
    with pytest.raises(UnknownRule):
        book(brno).remove(OPERATOR, "mr")
    assert list(book(brno).all()) == [CT]


@pytest.mark.parametrize(
    "rule",
    [Rule(name="default"), Rule(name="Two Words"), Rule(name="x", copies=0),
     Rule(name="x", sites=(PRAGUE,), copies=2)],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant_is_refused(brno, rule):
    with pytest.raises(Rejected):
        book(brno).add(OPERATOR, rule)
    assert jobs(brno) == []


def test_only_who_administers_the_site_makes_rules(brno):
    with pytest.raises(Forbidden):
        book(brno).add(CT1, CT)
    with pytest.raises(Forbidden):
        book(brno).remove(CT1, "ct")
    assert book(brno).all() == ()


@pytest.mark.parametrize(
    ("rule", "words"),
    [(EVERYWHERE, "everything: a copy at each of all members"),
     (CT, "modality CT: a copy at each of prague"),
     (Rule(name="x", copies=1), "everything: a copy at one of all members"),
     (Rule(name="x", copies=2, sites=(PRAGUE, OLOMOUC)), "everything: 2 copies among prague, olomouc")],
)  # fmt: skip
def test_a_rule_is_told_in_words(rule, words):
    assert described(rule) == words


# ---- what is owed


def test_what_is_archived_is_owed_as_the_rules_say_now(brno):
    assert reconsider(brno.catalog) == 4
    assert owed(brno, PRAGUE) == owed(brno, OLOMOUC) == ["CT", "MR"]
    book(brno).add(OPERATOR, CT)
    assert reconsider(brno.catalog) == 3
    assert (owed(brno, PRAGUE), owed(brno, OLOMOUC)) == (["CT"], [])
    book(brno).remove(OPERATOR, "ct")
    assert reconsider(brno.catalog) == 3
    assert reconsider(brno.catalog) == 0


@pytest.mark.parametrize("state", [CopyState.HELD, CopyState.VERIFIED, CopyState.GONE])
def test_what_a_site_has_said_of_its_copy_stays(brno, state):
    reconsider(brno.catalog)
    put(brno, PRAGUE, state)
    join(brno, PRAGUE, NOTHING)
    join(brno, OLOMOUC, NOTHING)
    reconsider(brno.catalog)
    with brno.catalog.reading() as unit:
        assert [(one.site, one.state) for one in unit.replicas.of_digest(digest(brno))] == [(PRAGUE, state)]
    join(brno, PRAGUE)
    reconsider(brno.catalog)
    assert owed(brno, PRAGUE) == ["MR"]


def test_a_suspended_member_owes_nothing_until_it_is_resumed(brno):
    reconsider(brno.catalog)
    join(brno, PRAGUE, standing=Standing.SUSPENDED)
    reconsider(brno.catalog)
    assert owed(brno, PRAGUE) == []
    join(brno, PRAGUE)
    reconsider(brno.catalog)
    assert owed(brno, PRAGUE) == ["CT", "MR"]


def test_copies_of_what_is_withdrawn_are_not_owed_until_it_is_restored(brno):
    reconsider(brno.catalog)
    brno.archive.retract(OPERATOR, Selection(series=(synthetic.series_uid(1, 1),)), "test")
    assert brno.rows("SELECT count(*) FROM replica") == [(2,)]
    assert reconsider(brno.catalog) == 0
    brno.archive.restore(OPERATOR, Selection(studies=(STUDY,)), "no test")
    assert owed(brno, PRAGUE) == owed(brno, OLOMOUC) == ["CT", "MR"]
    assert reconsider(brno.catalog) == 0


def test_both_forms_of_a_conflict_are_owed_until_they_are_folded(brno):
    brno.admit(synthetic.instance(modality="CT", salt=1))
    reconsider(brno.catalog)
    assert brno.rows("SELECT count(*) FROM replica WHERE site = 'prague'") == [(3,)]
    with brno.catalog.begin() as unit:
        [conflict] = unit.conflicts.unsettled()
        unit.conflicts.settle(conflict.instance, conflict.other, "folded")
    reconsider(brno.catalog)
    assert brno.rows("SELECT count(*) FROM replica WHERE site = 'prague'") == [(2,)]


def test_the_work_goes_through_many_facts_and_tells_how_far_it_is(brno, monkeypatch):
    monkeypatch.setattr(rules, "_BATCH", 1)
    book(brno).add(OPERATOR, CT)
    told = []
    assert reconsider(brno.catalog, lambda done, total: told.append((done, total))) == 1
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_every_change_owes_the_work_anew(brno):
    book(brno).add(OPERATOR, CT)
    book(brno).remove(OPERATOR, "ct")
    assert len(jobs(brno)) == 2


def test_where_age_counts_the_work_is_owed_again_tomorrow(brno):
    reconsider(brno.catalog)
    assert jobs(brno) == []
    book(brno).add(OPERATOR, Rule(name="young", match=Match(younger_than=30)))
    reconsider(brno.catalog)
    reconsider(brno.catalog)
    assert len(jobs(brno)) == 2
    [job] = brno.archive.lease_jobs()
    assert job.key.startswith("since")
    brno.archive.job_done(job)
    assert not brno.archive.lease_jobs()
    brno.clock.forward(86400)
    [job] = brno.archive.lease_jobs()
    assert job.key.startswith("day")


# ---- why


def test_a_study_is_explained_series_by_series(brno):
    book(brno).add(OPERATOR, CT)
    reconsider(brno.catalog)
    put(brno, PRAGUE, CopyState.VERIFIED)
    first, second = book(brno).explain(STUDY)
    assert (first.modality, first.ae_title, first.rules) == ("CT", "CT1", ("ct",))
    assert [(share.site, share.owes, share.why) for share in first.shares] == [
        (OLOMOUC, False, "not named by ct"), (PRAGUE, True, "wanted by ct"),
    ]  # fmt: skip
    assert first.shares[1].copies == {"verified": 1}
    assert (second.modality, second.ae_title, second.rules) == ("MR", "MR1", ())
    assert {(share.owes, share.why) for share in second.shares} == {(False, "no rule matches")}


def test_without_rules_the_default_explains(brno):
    [first, _] = book(brno).explain(STUDY)
    assert first.rules == (EVERYWHERE.name,)
    assert {share.why for share in first.shares} == {"wanted by default"}


def test_terms_and_standing_are_told_before_rules(brno):
    join(brno, PRAGUE, Terms(matches=(Match(modalities=("MR",)),)))
    join(brno, OLOMOUC, standing=Standing.SUSPENDED)
    [first, _] = book(brno).explain(STUDY)
    assert [share.why for share in first.shares] == ["it is suspended", "our terms do not give it this"]
    assert not any(share.owes for share in first.shares)


def test_enough_copies_at_other_sites_are_a_reason(brno):
    book(brno).add(OPERATOR, Rule(name="one", copies=1))
    [first, _] = book(brno).explain(STUDY)
    assert sorted(share.why for share in first.shares) == [
        "one: enough copies at other sites", "wanted by one",
    ]  # fmt: skip


def test_what_another_site_received_is_for_its_rules(brno):
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql("UPDATE instance SET stamp = '0000000000000001 prague 1 0000000001'")
    [first, _] = book(brno).explain(STUDY)
    assert (first.origin, first.rules) == (PRAGUE, ())
    assert [share.why for share in first.shares] == ["the rules of prague decide", "it received them"]


def test_images_without_a_study_date_are_explained_together(brno):
    for number in (1, 2, 3):
        data = synthetic.dataset(study=5, number=number)
        data.StudyDate = ""
        brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
    [part] = book(brno).explain(synthetic.study_uid(5))
    assert part.instances == 3


def test_a_study_that_is_not_here_is_not_explained(brno):
    with pytest.raises(UnknownStudy):
        book(brno).explain(synthetic.study_uid(9))
