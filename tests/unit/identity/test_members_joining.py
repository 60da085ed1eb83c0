"""Joining: one invitation, one site, one code, two administrators; and nobody between them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from node.domain.errors import (
    Expired,
    Forbidden,
    LinkSuspended,
    MalformedMessage,
    Rejected,
    Unauthenticated,
)
from node.domain.ids import SiteId
from node.domain.member import Standing
from node.domain.principal import Action, Kind, Principal
from node.domain.rule import EVERYTHING, NOTHING, Match, Terms
from node.identity import pairing
from node.identity.handshake import Token, Welcome, pins_of, transcript, welcome_said
from node.identity.invitations import MAX_ATTEMPTS
from tests.support.memberships import Node, apply, join, make, nodes

CT_ONLY = Terms(matches=(Match(modalities=("CT",)),))


@pytest.fixture
def pair() -> Iterator[tuple[Node, Node]]:
    with nodes("brno", "prague") as (brno, prague):
        yield brno, prague


def other_code(code: str) -> str:
    return "0000-0000" if code != "0000-0000" else "0000-0001"


def test_both_sites_are_active_when_both_administrators_have_agreed(pair):
    brno, prague = pair
    member = join(brno, prague, confirmed=False)
    assert member.is_active
    assert brno.standings() == {"prague": "waiting"}
    with pytest.raises(Unauthenticated, match="konzilium confirm"):
        brno.members.recognise(prague.home.key().fingerprint)
    brno.members.confirm(brno.operator, prague.site)
    assert brno.members.recognise(prague.home.key().fingerprint).site == "prague"
    assert prague.members.recognise(brno.home.key().fingerprint).site == "brno"


def test_an_invitation_that_was_confirmed_beforehand_makes_the_site_active_at_once(pair):
    brno, prague = pair
    join(brno, prague, confirmed=True)
    assert brno.standings() == {"prague": "active"}
    with pytest.raises(Rejected, match="does not wait"):
        brno.members.confirm(brno.operator, prague.site)


def test_each_learns_where_the_other_is_and_by_what_to_recognise_it(pair):
    brno, prague = pair
    join(brno, prague)
    seen = brno.members.find(prague.site)
    assert (seen.url, seen.ae_title, seen.version) == ("https://prague.example:8443", "PRAGUE", 1)
    assert seen.fingerprints == (prague.home.key().fingerprint,)
    assert brno.members.certificates_of(prague.site) == (prague.home.key().pem,)
    assert prague.members.trusted() == (brno.home.key().pem,)


def test_the_terms_of_both_sides_are_told_to_the_other(pair):
    brno, prague = pair
    invited = brno.invitations.invite(
        brno.operator, prague.site, export=CT_ONLY, accept=NOTHING, confirmed=True
    )
    join(brno, prague, invited=invited)
    prague.hear(brno)
    brno.hear(prague)
    at_brno, at_prague = brno.members.find(prague.site), prague.members.find(brno.site)
    assert (at_brno.export, at_brno.accept) == (CT_ONLY, NOTHING)
    assert (at_brno.gives, at_brno.takes) == (EVERYTHING, EVERYTHING)
    assert (at_prague.gives, at_prague.takes) == (CT_ONLY, NOTHING)


def test_everything_about_it_is_in_the_audit_ledger_with_who_did_it(pair):
    brno, prague = pair
    join(brno, prague)
    said = "\n".join(brno.audited())
    assert "invitation" in said
    assert prague.home.key().fingerprint in said
    assert brno.home.key().fingerprint in "\n".join(prague.audited())


def test_only_who_administers_may_invite_join_and_decide(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    device = Principal(kind=Kind.DEVICE, name="CT1", site=brno.site, may=frozenset({Action.STORE}))
    with pytest.raises(Forbidden):
        brno.invitations.invite(device, SiteId("ostrava"))
    with pytest.raises(Forbidden):
        prague.joining.begin(device, invited.token, invited.code)
    join(brno, prague, invited=invited)
    for decide in (brno.members.suspend, brno.members.resume, brno.members.revoke):
        with pytest.raises(Forbidden):
            decide(device, prague.site, "because")
    for decide in (brno.members.confirm, brno.members.consent):
        with pytest.raises(Forbidden):
            decide(device, prague.site)
    with pytest.raises(Forbidden):
        brno.members.leave(device)


def test_a_token_survives_being_pasted_with_line_breaks(pair):
    brno, prague = pair
    token = brno.invitations.invite(brno.operator, prague.site).token
    text = str(token)
    assert Token.read(f"  {text[:40]}\n{text[40:]} ") == token
    assert len(text) < 600


@pytest.mark.parametrize("text", ["", "kz1.", "kz1.e30", "kz1.????", "hello", "kz1." + "A" * 5000])
def test_what_is_no_token_is_named_so(text):
    with pytest.raises(MalformedMessage):
        Token.read(text)


def test_the_code_is_not_in_the_token_and_not_in_the_catalog(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    kept = repr(brno.invitations.find(invited.token.invitation))
    assert invited.code not in repr(invited.token)
    assert invited.code not in kept
    assert invited.token.secret not in kept


def test_a_code_may_be_typed_with_or_without_its_dash(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    apply(brno, prague, invited, invited.code.replace("-", " "))
    assert brno.standings() == {"prague": "waiting"}


def test_codes_keep_their_leading_zeros():
    assert pairing.code_of(bytes(16)) == "0000-0000"
    assert pairing.code_of((12345).to_bytes(16)) == "0001-2345"


def test_a_wrong_code_lets_nobody_in_and_says_how_many_attempts_are_left(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    with pytest.raises(Unauthenticated, match="4 attempts"):
        apply(brno, prague, invited, other_code(invited.code))
    assert brno.standings() == {}
    assert prague.standings() == {}
    join(brno, prague, invited=invited)


def test_five_wrong_codes_spoil_the_invitation_even_for_the_right_one(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Unauthenticated, match="code is wrong"):
            apply(brno, prague, invited, other_code(invited.code))
    with pytest.raises(Unauthenticated, match="spoiled"):
        join(brno, prague, invited=invited)
    assert brno.invitations.open() == []


def test_an_invitation_expires(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site, lifetime=60)
    attempt = prague.joining.begin(prague.operator, invited.token, invited.code)
    brno.clock.forward(61)
    with pytest.raises(Unauthenticated, match="expired"):
        brno.invitations.greet(invited.token.invitation, attempt.offer)
    with pytest.raises(Unauthenticated, match="expired"):
        brno.invitations.accept(attempt.application(attempt.offer))
    with pytest.raises(Expired):
        prague.joining.begin(prague.operator, invited.token, invited.code)
    assert brno.invitations.open() == []


def test_an_invitation_is_for_one_site_by_name(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, SiteId("ostrava"))
    with pytest.raises(Rejected, match="for ostrava"):
        prague.joining.begin(prague.operator, invited.token, invited.code)
    forged = replace(invited, token=replace(invited.token, site=prague.site))
    with pytest.raises(Unauthenticated):
        apply(brno, prague, forged, invited.code)
    assert brno.standings() == {}


def test_who_has_token_and_code_cannot_join_with_the_metadata_of_another_site(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, SiteId("ostrava"))
    begun = prague.joining.begin(prague.operator, replace(invited.token, site=prague.site), invited.code)
    attempt = replace(begun, token=invited.token)
    offered = brno.invitations.greet(invited.token.invitation, attempt.offer)
    with pytest.raises(Unauthenticated, match="not those of ostrava"):
        brno.invitations.accept(attempt.application(offered))
    assert brno.standings() == {}


def test_an_invitation_is_used_once(pair, tmp_path):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site, confirmed=True)
    join(brno, prague, invited=invited)
    thief = make(tmp_path / "thief", prague.site, brno.clock)
    with pytest.raises(Unauthenticated, match="used already"):
        apply(brno, thief, invited, invited.code)
    assert brno.members.find(prague.site).fingerprints == (prague.home.key().fingerprint,)
    thief.catalog.close()


def test_a_lost_answer_can_be_asked_for_again(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site, confirmed=True)
    attempt = prague.joining.begin(prague.operator, invited.token, invited.code)
    offered = brno.invitations.greet(invited.token.invitation, attempt.offer)
    brno.invitations.accept(attempt.application(offered))
    member = join(brno, prague, invited=invited)
    assert member.is_active
    assert brno.standings() == {"prague": "active"}


def test_nothing_is_known_of_an_invitation_that_was_never_made(pair):
    brno, _ = pair
    with pytest.raises(Unauthenticated, match="no such invitation"):
        brno.invitations.greet("0" * 32, "00")


@pytest.mark.parametrize("offer", ["", "zz", "01", "00" * 256, "00" * 255 + "01", "ff" * 256])
def test_an_offer_that_gives_the_key_away_is_refused(pair, offer):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    with pytest.raises(MalformedMessage):
        brno.invitations.greet(invited.token.invitation, offer)


def test_the_last_offer_of_the_group_is_refused():
    for element in (pairing.PRIME - 1, pairing.PRIME, 1):
        with pytest.raises(MalformedMessage):
            pairing.agree(b"x", element.to_bytes(pairing.LENGTH).hex())


# who stands between the sites


def test_who_puts_a_certificate_of_its_own_into_the_token_is_found_out_by_the_inviter(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    changed = replace(invited, token=replace(invited.token, fingerprints=("ab" * 32,)))
    with pytest.raises(Unauthenticated, match="changed on its way"):
        apply(brno, prague, changed, invited.code)
    assert brno.standings() == {}


def test_who_answers_in_the_place_of_the_inviter_without_the_code_is_found_out(pair, tmp_path):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    mallory = make(tmp_path / "mallory", brno.site, brno.clock)
    token = replace(invited.token, fingerprints=(mallory.home.key().fingerprint,))
    metadata = mallory.joining.begin(mallory.operator, replace(token, site=brno.site), "").metadata
    attempt = prague.joining.begin(prague.operator, token, invited.code)
    private = bytes(32)
    guess = pairing.shared_secret(token.secret, other_code(invited.code))
    offered = pairing.offer(guess, private)
    key = pairing.agree(private, attempt.offer)
    said = transcript(
        token.invitation,
        joiner=prague.site,
        inviter=brno.site,
        pins=pins_of(token),
        offers=(attempt.offer, offered),
        metadata=attempt.metadata,
    )
    assert not pairing.is_proved(key, "joiner", said, attempt.application(offered).proof)
    answer = welcome_said(said, metadata, Standing.ACTIVE, ())
    welcome = Welcome(
        metadata=metadata, standing=Standing.ACTIVE, facts=(), proof=pairing.proof(key, "inviter", answer)
    )
    with pytest.raises(Unauthenticated, match="does not know the code"):
        prague.joining.finish(prague.operator, attempt, offered, welcome)
    assert prague.standings() == {}
    mallory.catalog.close()


def test_a_welcome_that_was_changed_on_its_way_is_not_taken(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site, confirmed=True)
    attempt = prague.joining.begin(prague.operator, invited.token, invited.code)
    offered = brno.invitations.greet(invited.token.invitation, attempt.offer)
    welcome = brno.invitations.accept(attempt.application(offered))
    for changed in (
        replace(welcome, facts=welcome.facts[:-1]),
        replace(welcome, standing="waiting"),
        replace(welcome, proof="0" * 64),
        replace(welcome, proof="ž"),
        replace(welcome, metadata=attempt.metadata),
    ):
        with pytest.raises(Unauthenticated):
            prague.joining.finish(prague.operator, attempt, offered, changed)
    assert prague.standings() == {}


def test_metadata_that_were_changed_on_their_way_are_not_taken(pair, tmp_path):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site, confirmed=True)
    attempt = prague.joining.begin(prague.operator, invited.token, invited.code)
    thief = make(tmp_path / "thief", prague.site, brno.clock)
    other = thief.joining.begin(thief.operator, invited.token, "9999-9999")
    offered = brno.invitations.greet(invited.token.invitation, attempt.offer)
    application = replace(attempt.application(offered), metadata=other.metadata)
    with pytest.raises(Unauthenticated, match="changed on its way"):
        brno.invitations.accept(application)
    assert brno.standings() == {}
    thief.catalog.close()


# whom to invite


def test_a_member_need_not_be_invited_and_nobody_invites_itself(pair):
    brno, prague = pair
    with pytest.raises(Rejected, match="itself"):
        brno.invitations.invite(brno.operator, brno.site)
    join(brno, prague)
    with pytest.raises(Rejected, match="member already"):
        brno.invitations.invite(brno.operator, prague.site)
    brno.members.suspend(brno.operator, prague.site, "maintenance")
    with pytest.raises(Rejected, match="resume"):
        brno.invitations.invite(brno.operator, prague.site)


def test_a_site_that_nobody_can_call_lets_the_other_one_invite(pair):
    brno, prague = pair
    silent = type(brno)(
        site=brno.site, catalog=brno.catalog, home=replace(brno.home, url=None), clock=brno.clock
    )
    with pytest.raises(Rejected, match="let the other site invite"):
        silent.invitations.invite(silent.operator, prague.site)
    join(prague, silent)
    assert prague.members.find(brno.site).url is None


def test_revoking_a_site_spoils_the_invitations_that_it_still_has(pair):
    brno, prague = pair
    join(brno, prague, confirmed=False)
    again = brno.invitations.invite(brno.operator, prague.site)
    brno.members.revoke(brno.operator, prague.site, "stolen")
    with pytest.raises(Unauthenticated, match="spoiled"):
        apply(brno, prague, again, again.code)


def test_a_site_that_was_revoked_may_be_invited_again_with_new_keys(pair, tmp_path):
    brno, prague = pair
    join(brno, prague)
    brno.members.revoke(brno.operator, prague.site, "stolen")
    fresh = make(tmp_path / "fresh", prague.site, brno.clock)
    join(brno, fresh)
    assert brno.members.recognise(fresh.home.key().fingerprint).site == prague.site
    with pytest.raises(Unauthenticated):
        brno.members.recognise(prague.home.key().fingerprint)
    fresh.catalog.close()


def test_a_stranger_is_not_recognised(pair):
    brno, prague = pair
    with pytest.raises(Unauthenticated, match="no member"):
        brno.members.recognise(prague.home.key().fingerprint)


def test_the_link_is_cut_by_either_side_alone_at_once_and_resumed_by_it(pair):
    brno, prague = pair
    join(brno, prague)
    before = brno.members.version()
    brno.members.suspend(brno.operator, prague.site, "maintenance")
    with pytest.raises(LinkSuspended):
        brno.members.recognise(prague.home.key().fingerprint)
    with pytest.raises(LinkSuspended):
        brno.members.demand_active(prague.site)
    assert brno.members.certificates_of(prague.site) == ()
    assert brno.members.version() == before, "it may still connect, to be told why"
    assert prague.members.recognise(brno.home.key().fingerprint).is_active
    brno.members.resume(brno.operator, prague.site, "done")
    assert brno.members.recognise(prague.home.key().fingerprint).is_active


def test_a_revoked_site_gets_through_no_door_from_that_moment_on(pair):
    brno, prague = pair
    join(brno, prague)
    before = brno.members.version()
    brno.members.revoke(brno.operator, prague.site, "stolen")
    with pytest.raises(Unauthenticated, match="not trusted any more"):
        brno.members.recognise(prague.home.key().fingerprint)
    assert brno.members.trusted() == ()
    assert brno.members.version() != before


def test_many_wrong_codes_at_once_are_not_more_than_five_in_a_row(pair):
    brno, prague = pair
    invited = brno.invitations.invite(brno.operator, prague.site)
    attempt = prague.joining.begin(prague.operator, invited.token, other_code(invited.code))
    application = attempt.application(brno.invitations.greet(invited.token.invitation, attempt.offer))

    def refused(_: int) -> str:
        with pytest.raises(Unauthenticated) as caught:
            brno.invitations.accept(application)
        return str(caught.value)

    with ThreadPoolExecutor(12) as pool:
        said = list(pool.map(refused, range(12)))
    assert sum("code is wrong" in one for one in said) == MAX_ATTEMPTS
