"""More than two sites: introductions, revocations, goodbyes, and changes of keys, seen from each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.domain.errors import LinkSuspended, Rejected, Unauthenticated, UnknownMember
from node.domain.ids import SiteId
from node.domain.member import Standing
from node.domain.principal import Kind, Principal
from node.domain.rule import EVERYTHING, NOTHING
from node.identity import metadata
from node.identity.members import derive_member
from node.identity.rotation import OVERLAP, Step
from node.identity.upkeep import Upkeep
from node.journal.entry import Fact
from tests.support.memberships import Node, join, make, nodes

Three = tuple[Node, Node, Node]


@pytest.fixture
def three() -> Iterator[Three]:
    """Brno, where Prague and then Ostrava have joined."""
    with nodes("brno", "prague", "ostrava") as (brno, prague, ostrava):
        join(brno, prague)
        join(brno, ostrava)
        yield brno, prague, ostrava


def everybody_hears(*sites: Node) -> None:
    for _ in range(2):
        for one in sites:
            one.hear(*(other for other in sites if other is not one and one.members.all()))


def fingerprint(node: Node) -> str:
    return node.home.key().fingerprint


# introductions


def test_the_third_site_knows_the_second_as_soon_as_it_has_joined(three):
    _, prague, ostrava = three
    assert ostrava.standings() == {"brno": "active", "prague": "active"}
    assert ostrava.members.recognise(fingerprint(prague)).introduced_by == "brno"


def test_the_second_site_learns_of_the_third_from_the_journal_of_the_first(three):
    brno, prague, ostrava = three
    assert prague.standings() == {"brno": "active"}
    prague.hear(brno)
    assert prague.members.recognise(fingerprint(ostrava)).url == "https://ostrava.example:8443"


def test_a_site_that_is_not_confirmed_yet_is_introduced_to_nobody():
    with nodes("brno", "prague", "ostrava") as (brno, prague, ostrava):
        join(brno, prague)
        join(brno, ostrava, confirmed=False)
        prague.hear(brno)
        assert prague.standings() == {"brno": "active"}
        assert ostrava.standings() == {"brno": "active"}
        brno.members.confirm(brno.operator, ostrava.site)
        prague.hear(brno)
        ostrava.hear(brno)
        assert prague.standings() == {"brno": "active", "ostrava": "active"}
        assert ostrava.standings() == {"brno": "active", "prague": "active"}


def test_introduced_sites_get_no_studies_until_somebody_says_so(three):
    brno, prague, ostrava = three
    prague.hear(brno)
    met = prague.members.find(ostrava.site)
    assert (met.export, met.accept) == (NOTHING, NOTHING)
    prague.members.consent(prague.operator, ostrava.site, export=EVERYTHING)
    met = prague.members.find(ostrava.site)
    assert (met.export, met.accept) == (EVERYTHING, NOTHING)
    ostrava.hear(prague)
    assert ostrava.members.find(prague.site).gives == EVERYTHING


def test_a_site_may_choose_to_share_with_whoever_is_introduced():
    with nodes("brno", "prague", "ostrava", share=True) as (brno, prague, ostrava):
        join(brno, prague)
        join(brno, ostrava)
        prague.hear(brno)
        assert prague.members.share_with_introduced(prague.operator) == [ostrava.site]
        assert prague.members.find(ostrava.site).export == EVERYTHING
        assert prague.members.share_with_introduced(prague.operator) == ()


def test_a_site_that_does_not_choose_so_shares_nothing_by_itself(three):
    brno, prague, ostrava = three
    prague.hear(brno)
    assert prague.members.share_with_introduced(prague.operator) == ()
    assert prague.members.find(ostrava.site).export == NOTHING


def test_whom_a_stranger_introduces_stays_a_stranger(three, tmp_path):
    brno, prague, _ = three
    stranger = make(tmp_path / "stranger", SiteId("stranger"), brno.clock)
    friend = make(tmp_path / "friend", SiteId("friend"), brno.clock)
    join(stranger, friend)
    prague.hear(stranger)
    assert "friend" not in prague.standings()
    assert "stranger" not in prague.standings()
    with pytest.raises(UnknownMember):
        prague.members.find(friend.site)
    stranger.catalog.close()
    friend.catalog.close()


def test_no_site_can_give_another_one_new_keys_by_introducing_it_again(three, tmp_path):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    thief = make(tmp_path / "thief", prague.site, brno.clock)
    with thief.catalog.begin() as unit:
        forged = thief.home.announce(unit)
    with ostrava.catalog.begin() as unit:
        unit.journal.append(Fact.MEMBER, {"site": "prague", "descriptor": forged})
        unit.journal.append(
            Fact.STANDING, {"site": "prague", "standing": "active", "by": "operator:x@ostrava"}
        )
    brno.hear(ostrava)
    assert brno.members.recognise(fingerprint(prague)).site == "prague"
    with pytest.raises(Unauthenticated):
        brno.members.recognise(fingerprint(thief))
    thief.catalog.close()


def test_facts_that_say_nothing_readable_count_for_nothing(three):
    brno, prague, _ = three
    with brno.catalog.begin() as unit:
        unit.journal.append(Fact.STANDING, {"site": "prague", "standing": "king"})
        unit.journal.append(Fact.MEMBER, {"site": "NOT A SITE", "descriptor": ""})
        unit.journal.append(Fact.MEMBER, {"site": "liberec", "descriptor": 5})
        unit.journal.append(Fact.CONSENT, {"site": "prague"})
        unit.journal.append(Fact.STANDING, {"site": "liberec", "standing": "active"})
        unit.journal.append(Fact.MEMBER, {"site": "liberec", "descriptor": "<no/>"})
    before = prague.standings()
    prague.hear(brno)
    assert prague.standings() == {**before, "ostrava": "active"}


# cut and revoked


def test_a_site_that_one_member_revokes_is_suspended_at_all_others(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    brno.members.revoke(brno.operator, ostrava.site, "stolen")
    prague.hear(brno)
    assert prague.standings() == {"brno": "active", "ostrava": "suspended"}
    assert prague.members.find(ostrava.site).reason == "revoked by brno: stolen"
    with pytest.raises(LinkSuspended):
        prague.members.recognise(fingerprint(ostrava))


def test_the_others_may_decide_otherwise_and_then_it_stays_so(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    brno.members.revoke(brno.operator, ostrava.site, "stolen")
    prague.hear(brno)
    prague.members.resume(prague.operator, ostrava.site, "checked by phone")
    assert prague.members.recognise(fingerprint(ostrava)).introduced_by == "prague"
    prague.hear(brno)
    assert prague.standings()["ostrava"] == "active"


def test_a_revocation_that_is_taken_back_ends_the_suspension_at_the_others(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    brno.members.revoke(brno.operator, ostrava.site, "by mistake")
    prague.hear(brno)
    brno.members.resume(brno.operator, ostrava.site)
    prague.hear(brno)
    assert prague.standings()["ostrava"] == "active"


def test_a_suspension_concerns_the_two_sites_alone(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    brno.members.suspend(brno.operator, ostrava.site, "maintenance")
    prague.hear(brno)
    assert prague.standings()["ostrava"] == "active"


def test_whom_a_revoked_site_alone_has_introduced_is_suspended_until_somebody_decides(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    prague.members.revoke(prague.operator, brno.site, "broken into")
    assert prague.standings() == {"brno": "revoked", "ostrava": "suspended"}
    assert "introduced by brno" in prague.members.find(ostrava.site).reason
    prague.members.resume(prague.operator, ostrava.site)
    assert prague.standings() == {"brno": "revoked", "ostrava": "active"}


def test_two_sites_that_revoke_each_other_are_both_suspended_at_the_third(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    prague.members.revoke(prague.operator, ostrava.site, "it is broken into")
    ostrava.members.revoke(ostrava.operator, prague.site, "no, you are")
    brno.hear(prague)
    brno.hear(ostrava)
    assert brno.standings() == {"ostrava": "suspended", "prague": "suspended"}
    brno.members.resume(brno.operator, prague.site, "ostrava is the one")
    assert brno.standings() == {"ostrava": "suspended", "prague": "active"}


def test_a_member_cannot_be_decided_about_before_it_is_known(three):
    brno, _, _ = three
    for decide in (brno.members.suspend, brno.members.revoke, brno.members.resume):
        with pytest.raises(UnknownMember):
            decide(brno.operator, SiteId("liberec"), "because")
    with pytest.raises(UnknownMember):
        brno.members.confirm(brno.operator, SiteId("liberec"))


def test_a_revoked_site_cannot_be_suspended_but_can_be_trusted_again(three):
    brno, prague, _ = three
    brno.members.revoke(brno.operator, prague.site, "stolen")
    with pytest.raises(Rejected, match="no link to cut"):
        brno.members.suspend(brno.operator, prague.site, "")
    assert brno.members.resume(brno.operator, prague.site).is_active


# goodbye


def test_a_site_that_leaves_exchanges_with_nobody_and_the_others_know(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    told = prague.members.leave(prague.operator, "closing down")
    assert [member.site for member in told] == ["brno", "ostrava"]
    assert prague.standings() == {"brno": "suspended", "ostrava": "suspended"}
    node = Principal(kind=Kind.NODE, name="prague", site=prague.site)
    brno.members.goodbye(node, "closing down")
    assert brno.standings()["prague"] == "left"
    ostrava.hear(brno)
    assert ostrava.standings()["prague"] == "left"
    assert ostrava.members.find(prague.site).reason == "closing down"


def test_a_site_that_left_may_be_invited_again_and_is_a_member_everywhere(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    prague.members.leave(prague.operator)
    brno.hear(prague)
    ostrava.hear(brno, prague)
    assert ostrava.standings()["prague"] == "left"
    join(brno, prague)
    everybody_hears(brno, prague, ostrava)
    assert prague.standings() == {"brno": "active", "ostrava": "active"}
    assert ostrava.standings()["prague"] == "active"
    assert brno.standings()["prague"] == "active"


def test_saying_goodbye_twice_is_written_down_once(three):
    brno, prague, _ = three
    node = Principal(kind=Kind.NODE, name="prague", site=prague.site)
    brno.members.goodbye(node, "closing down")
    before = brno.audited()
    brno.members.goodbye(node, "closing down")
    assert brno.audited() == before


# changes of keys and addresses


def test_a_site_that_moves_tells_the_others_once(three):
    brno, prague, _ = three
    moved = Node(
        site=prague.site,
        catalog=prague.catalog,
        home=type(prague.home)(
            site=prague.site,
            key_folder=prague.home.key_folder,
            url="https://new.prague.example:443",
            ae_title=prague.home.ae_title,
        ),
        clock=prague.clock,
    )
    moved.members.announce()
    moved.members.announce()
    brno.hear(moved)
    found = brno.members.find(prague.site)
    assert (found.url, found.version) == ("https://new.prague.example:443", 2)


def test_a_site_without_others_announces_nothing():
    with nodes("brno") as (brno,):
        brno.members.announce()
        with brno.catalog.reading() as unit:
            assert unit.journal.head().seq == 0


def test_a_key_changes_without_anybody_being_cut_off(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    old = fingerprint(prague)
    begun = prague.rotation.begin(prague.operator)
    assert (begun.step, begun.unaware) == (Step.ANNOUNCED, ("brno", "ostrava"))
    brno.hear(prague)
    assert set(brno.members.find(prague.site).fingerprints) == {old, begun.other}
    assert prague.rotation.tend(prague.operator).unaware == ("ostrava",)
    assert fingerprint(prague) == old
    ostrava.hear(prague)
    switched = prague.rotation.tend(prague.operator)
    assert (switched.step, fingerprint(prague), switched.other) == (Step.SWITCHED, begun.other, old)
    assert brno.members.recognise(fingerprint(prague)).is_active, "before it hears of the switch"
    brno.hear(prague)
    assert brno.members.recognise(old).is_active, "a process of prague may still show it"
    prague.clock.forward(OVERLAP / 1_000_000 + 1)
    assert prague.rotation.tend(prague.operator).step is Step.SETTLED
    brno.hear(prague)
    assert brno.members.recognise(fingerprint(prague)).is_active
    with pytest.raises(Unauthenticated):
        brno.members.recognise(old)


def test_a_switch_that_members_have_not_heard_of_needs_insistence(three):
    brno, prague, ostrava = three
    everybody_hears(brno, prague, ostrava)
    with pytest.raises(Rejected, match="begin with"):
        prague.rotation.finish(prague.operator)
    prague.rotation.begin(prague.operator)
    brno.hear(prague)
    with pytest.raises(Rejected, match="not known yet to ostrava"):
        prague.rotation.finish(prague.operator)
    assert prague.rotation.finish(prague.operator, insist=True).step is Step.SWITCHED
    with pytest.raises(Rejected, match="not over yet"):
        prague.rotation.begin(prague.operator)
    ostrava.hear(prague)
    assert ostrava.members.recognise(fingerprint(prague)).is_active, "it reads the announcements in order"


def test_beginning_twice_makes_one_key(three):
    _, prague, _ = three
    first, again = prague.rotation.begin(prague.operator), prague.rotation.begin(prague.operator)
    assert first == again


def test_metadata_that_another_key_signs_are_not_believed(three, tmp_path):
    brno, prague, _ = three
    thief = make(tmp_path / "thief", prague.site, brno.clock)
    with thief.catalog.begin() as unit:
        forged = thief.home.announce(unit)
    with prague.catalog.begin() as unit:
        unit.journal.append(Fact.MEMBER, {"site": "prague", "descriptor": forged})
    brno.hear(prague)
    with pytest.raises(Unauthenticated):
        brno.members.recognise(fingerprint(thief))
    thief.catalog.close()


def test_a_site_cannot_list_the_certificate_of_another(three, tmp_path):
    brno, prague, _ = three
    with prague.catalog.reading() as unit:
        _, descriptor = prague.home.announced(unit)
    both = replace(descriptor, certificates=(*descriptor.certificates, brno.home.key().pem), version=2)
    with prague.catalog.begin() as unit:
        text = metadata.written(both, prague.home.key(), unit.now)
        unit.journal.append(Fact.MEMBER, {"site": "prague", "descriptor": text})
    brno.hear(prague)
    assert brno.members.find(prague.site).version == 1


def test_deriving_one_member_says_what_it_is_now(three):
    brno, prague, _ = three
    with brno.catalog.begin() as unit:
        unit.journal.append(Fact.STANDING, {"site": "prague", "standing": "suspended", "by": "x"})
        assert derive_member(unit, prague.site).standing is Standing.SUSPENDED
        assert derive_member(unit, SiteId("liberec")) is None


def test_the_upkeep_takes_each_step_when_it_is_due():
    with nodes("brno", "prague", "ostrava", share=True) as (brno, prague, ostrava):
        join(brno, prague)
        join(brno, ostrava)
        prague.hear(brno)
        upkeep = Upkeep(prague.catalog, prague.members)
        upkeep.tend()
        assert prague.members.find(ostrava.site).accept == EVERYTHING
        begun = prague.rotation.begin(prague.operator)
        upkeep.tend()
        assert prague.rotation.progress().step is Step.ANNOUNCED
        everybody_hears(brno, prague, ostrava)
        upkeep.tend()
        assert fingerprint(prague) == begun.other
        prague.clock.forward(OVERLAP / 1_000_000 + 1)
        upkeep.tend()
        assert prague.rotation.progress().step is Step.SETTLED
        assert any("in use" in what for what in prague.audited())
