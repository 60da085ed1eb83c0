"""Who is a member follows from the set of facts, whatever the order in which they came."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.ids import AETitle, SiteId
from node.domain.member import Standing
from node.domain.rule import EVERYTHING, NOTHING
from node.identity.membership import membership
from node.identity.metadata import Descriptor
from node.journal.entry import Entry, Fact, canonical

SITES = [SiteId(name) for name in ("brno", "prague", "ostrava", "liberec")]
HERE = SITES[0]


def read(text: str, signers: tuple[str, ...] | None) -> Descriptor | None:
    """Metadata of the form `site version signer certificate,certificate`."""
    site, version, signer, listed = text.split(" ")
    certificates = tuple(listed.split(","))
    if signer not in (certificates if signers is None else signers):
        return None
    return Descriptor(
        site=SiteId(site),
        url=None,
        certificates=certificates,
        ae_title=AETitle(site),
        organization=site,
        scopes=(site,),
        version=int(version),
    )


def fact(origin: str, kind: Fact, at: int, seq: int, **says: object) -> Entry:
    return Entry(
        origin=SiteId(origin),
        epoch=1,
        seq=seq,
        at=at,
        kind=kind,
        payload=canonical(says),
        previous="",
        hash="",
    )


site = st.sampled_from(SITES)
standing = st.sampled_from(list(Standing))
certificate = st.sampled_from(["c1", "c2", "c3"])


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Whatever four sites may say of each other, at times that may coincide."""
    found = []
    for seq in range(1, draw(st.integers(1, 24))):
        origin, about, at = draw(site), draw(site), draw(st.integers(1, 9))
        match draw(st.sampled_from([Fact.MEMBER, Fact.STANDING, Fact.CONSENT])):
            case Fact.MEMBER:
                listed = ",".join(sorted(draw(st.sets(certificate, min_size=1))))
                text = f"{about} {draw(st.integers(1, 4))} {draw(certificate)} {listed}"
                found.append(fact(origin, Fact.MEMBER, at, seq, site=about, descriptor=text))
            case Fact.STANDING:
                found.append(
                    fact(origin, Fact.STANDING, at, seq, site=about, standing=draw(standing), reason="")
                )
            case _:
                terms = draw(st.sampled_from([EVERYTHING, NOTHING])).told()
                found.append(fact(origin, Fact.CONSENT, at, seq, site=about, export=terms, accept=terms))
    return found


@given(st.data(), histories())
@settings(max_examples=300)
def test_the_order_of_arrival_and_repetitions_make_no_difference(data, facts):
    shuffled = data.draw(st.permutations([*facts, *facts[: len(facts) // 2]]))
    assert membership(HERE, shuffled, read) == membership(HERE, facts, read)


@given(histories())
def test_nobody_is_active_without_somebody_here_having_begun_it(facts):
    others = [one for one in facts if one.origin != HERE]
    assert not membership(HERE, others, read)


@given(histories())
def test_what_was_decided_here_holds_whatever_others_say(facts):
    decided = {}
    for one in sorted(facts, key=lambda fact: fact.stamp):
        if one.origin == HERE and one.kind is Fact.STANDING:
            decided[one.says["site"]] = one.says["standing"]
    for name, seen in membership(HERE, facts, read).items():
        if decided.get(name) in {"waiting", "suspended", "revoked"}:
            assert seen.standing == decided[name]
        if seen.standing is Standing.ACTIVE and name in decided:
            assert decided[name] in {"active", "left"}


@given(histories())
def test_this_site_is_never_a_member_of_its_own_list(facts):
    assert HERE not in membership(HERE, facts, read)


@given(histories(), st.integers(10, 20))
def test_a_revocation_by_a_trusted_member_never_leaves_a_site_active(facts, at):
    before = membership(HERE, facts, read)
    trusted = [name for name, seen in before.items() if seen.standing is Standing.ACTIVE]
    for by in trusted:
        for about in trusted:
            if by != about:
                revoked = fact(by, Fact.STANDING, at, 1000, site=about, standing="revoked", reason="")
                after = membership(HERE, [*facts, revoked], read)
                assert after[about].standing is not Standing.ACTIVE
