"""The Federation service over a real connection: what members may ask, and what strangers may not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.domain.chain import Head
from node.domain.change import News
from node.domain.errors import (
    AccessDenied,
    LinkSuspended,
    MalformedMessage,
    NodeError,
    PeerUnreachable,
    Rejected,
    Unauthenticated,
    UnknownMember,
)
from node.domain.ids import SiteId
from node.domain.rule import EVERYTHING, NOTHING, Match, Terms
from node.identity.handshake import Invited
from node.wiring import Site, open_site
from services.cli.federation import calling
from services.cli.federation.join import enter
from services.soap.federation import Federation, read_terms, written_terms
from services.soap.news import news_of, written_news
from tests.support.neighbours import made, serving

NEWS = News(
    site=SiteId("prague"),
    epoch=1,
    head=4711,
    head_hash="ab" * 32,
    terms=3,
    metadata=1,
    audit_head=12,
    audit_hash="cd" * 32,
    reached={"1": 7},
    marks={"1": "ef" * 32},
    ends={"1": Head(seq=4, hash="01" * 32)},
    recalled={"1": 3},
    gaps={"1": [(2, 3)]},
)


@pytest.fixture
def brno(tmp_path: Path) -> Iterator[Site]:
    with serving(made(tmp_path, "brno")) as site:
        yield site


@pytest.fixture
def prague(tmp_path: Path) -> Iterator[Site]:
    with open_site(made(tmp_path, "prague")) as site:
        yield site


def invited(brno: Site, name: str = "prague") -> Invited:
    return brno.invitations.invite(brno.operator(), SiteId(name), confirmed=True)


@pytest.fixture
def joined(brno: Site, prague: Site) -> tuple[Site, Site]:
    made_out = invited(brno)
    enter(prague, made_out.token, made_out.code, EVERYTHING, EVERYTHING)
    return brno, prague


def ask(caller: Site, method, **values):
    """Call Brno as a member."""
    with calling.member(caller, caller.members.find(SiteId("brno"))) as session:
        return session.call(method, **values)


def ask_as_stranger(made_out: Invited, method, **values):
    """Call Brno as one whom it does not know."""
    with calling.stranger(made_out.token) as session:
        return session.call(method, **values)


def test_members_are_told_who_is_a_member(joined):
    _, prague = joined
    (one,) = ask(prague, Federation.members)
    assert (one.site, one.standing, one.ae_title, one.version) == ("prague", "active", "PRAGUE", 1)
    assert one.url == prague.home.url


def test_members_are_given_the_signed_metadata_of_any_site_that_is_known(joined):
    brno, prague = joined
    assert ask(prague, Federation.metadata) == brno.members.metadata()
    assert ask(prague, Federation.metadata, site="prague") == prague.members.metadata()
    with pytest.raises(UnknownMember):
        ask(prague, Federation.metadata, site="liberec")


def test_news_go_both_ways(joined):
    brno, prague = joined
    answer = news_of(ask(prague, Federation.heartbeat, news=written_news(NEWS)))
    assert answer.site == "brno"
    with brno.catalog.reading() as unit:
        assert answer.head == unit.journal.head().seq
        assert unit.members.contact(SiteId("prague")).head == 4711


def test_news_of_another_site_are_refused(joined):
    _, prague = joined
    with pytest.raises(MalformedMessage):
        ask(prague, Federation.heartbeat, news=written_news(replace(NEWS, site=SiteId("ostrava"))))


@pytest.mark.parametrize(
    ("method", "values"),
    [
        (Federation.members, {}),
        (Federation.metadata, {}),
        (Federation.leave, {"reason": "x"}),
        (Federation.suspend, {"reason": "x"}),
        (Federation.resume, {}),
        (Federation.consent, {}),
        (Federation.heartbeat, {"news": written_news(NEWS)}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_strangers_may_ask_for_nothing_but_to_join(brno, method, values):
    with pytest.raises(AccessDenied):
        ask_as_stranger(invited(brno), method, **values)


def test_an_invitation_that_was_never_made_leads_nowhere(brno):
    made_out = invited(brno)
    with pytest.raises(Unauthenticated):
        ask_as_stranger(made_out, Federation.greet, invitation="0" * 32, offer="02".zfill(512))


@pytest.mark.parametrize("offer", ["", "zz", "0" * 511, "G" * 512])
def test_an_offer_of_another_form_does_not_get_past_the_schema(brno, offer):
    made_out = invited(brno)
    with pytest.raises(NodeError):
        ask_as_stranger(made_out, Federation.greet, invitation=made_out.token.invitation, offer=offer)


def test_a_wrong_code_is_refused_with_a_reason(brno, prague):
    made_out = invited(brno)
    wrong = "0000-0000" if made_out.code != "0000-0000" else "1111-1111"
    with pytest.raises(Unauthenticated, match="4 attempts"):
        enter(prague, made_out.token, wrong, EVERYTHING, EVERYTHING)
    assert list(prague.members.all()) == []


def test_what_a_member_tells_of_its_decisions_is_shown_and_changes_no_decision_here(joined):
    brno, prague = joined
    ask(prague, Federation.suspend, reason="maintenance")
    with brno.catalog.reading() as unit:
        assert unit.members.contact(SiteId("prague")).error == "prague has cut the link: maintenance"
    assert brno.members.find(SiteId("prague")).is_active
    ask(prague, Federation.resume)
    with brno.catalog.reading() as unit:
        assert unit.members.contact(SiteId("prague")).error == ""
    terms = Terms(matches=(Match(modalities=("CT",), younger_than=30),))
    before = brno.members.find(SiteId("prague"))
    ask(prague, Federation.consent, export=written_terms(terms), accept=())
    after = brno.members.find(SiteId("prague"))
    assert (after.gives, after.takes) == (terms, NOTHING)
    assert (after.export, after.accept) == (before.export, before.accept)


def test_a_member_that_says_goodbye_has_left(joined):
    brno, prague = joined
    ask(prague, Federation.leave, reason="closed")
    assert brno.members.find(SiteId("prague")).standing == "left"
    with pytest.raises((AccessDenied, PeerUnreachable)):
        ask(prague, Federation.members)


def test_a_member_that_is_suspended_here_is_told_so(joined):
    brno, prague = joined
    brno.members.suspend(brno.operator(), SiteId("prague"), "maintenance")
    with pytest.raises(LinkSuspended):
        ask(prague, Federation.members)


def test_a_member_that_is_revoked_here_gets_no_connection(joined):
    brno, prague = joined
    with calling.member(prague, prague.members.find(SiteId("brno"))) as session:
        session.call(Federation.members)
        brno.members.revoke(brno.operator(), SiteId("prague"), "stolen")
        with pytest.raises((PeerUnreachable, AccessDenied)):
            session.call(Federation.members)
    with pytest.raises(PeerUnreachable):
        ask(prague, Federation.members)


def test_terms_on_the_wire_are_the_terms_of_the_node():
    terms = Terms(
        matches=(
            Match(),
            Match(modalities=("CT", "MR"), ae_titles=("CT 1",), body_parts=("HEAD",)),
            Match(younger_than=0, older_than=3),
        )
    )
    assert read_terms(written_terms(terms)) == terms
    assert read_terms(()) == NOTHING


def test_whom_the_inviter_does_not_expect_is_refused(brno, prague):
    made_out = invited(brno, "ostrava")
    with pytest.raises(Rejected, match="for ostrava"):
        enter(prague, made_out.token, made_out.code, EVERYTHING, EVERYTHING)
