"""Sessions: who is logged in with which browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.identity.persons import person
from node.identity.sessions import MANY, Sessions, Vouched, form_token
from tests.support.sites import BRNO, TestSite, site

IDP = "https://idp.hospital-brno.test/idp"
JANA = replace(person(issuer=IDP, name="jana@hospital-brno.test", site=BRNO), address="192.0.2.7")
VOUCHED = Vouched(provider=IDP, name_id="_n1", session_index="_s1", leaving="{}")


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


@pytest.fixture
def sessions(brno: TestSite) -> Sessions:
    return Sessions(brno.catalog, idle=600, longest=3600)


def test_a_session_is_found_by_its_secret_and_says_where_the_call_comes_from(sessions: Sessions) -> None:
    secret, begun = sessions.begin(JANA, VOUCHED)
    found = sessions.find(secret, address="198.51.100.1")
    assert found is not None
    assert found.id == begun.id
    assert found.vouched == VOUCHED
    assert found.principal == replace(JANA, address="198.51.100.1")
    assert sessions.find(secret + "x") is None
    assert sessions.find("") is None


def test_what_was_granted_is_not_kept_in_a_session(sessions: Sessions) -> None:
    granted = replace(JANA, roles=frozenset({"radiologist"}), emergencies=frozenset({"1.2.3"}))
    secret, _ = sessions.begin(granted, VOUCHED)
    found = sessions.find(secret)
    assert found is not None
    assert found.principal.roles == found.principal.emergencies == frozenset()


def test_the_catalog_does_not_hold_the_secret(brno: TestSite, sessions: Sessions) -> None:
    secret, _ = sessions.begin(JANA, VOUCHED, browser="b")
    (row,) = brno.rows("select * from session")
    assert secret not in row
    assert "b" not in row


def test_a_session_that_is_used_goes_on_and_one_that_is_not_ends(brno: TestSite, sessions: Sessions) -> None:
    secret, _ = sessions.begin(JANA, VOUCHED)
    for _ in range(3):
        brno.clock.forward(500)
        assert sessions.find(secret) is not None
    brno.clock.forward(601)
    assert sessions.find(secret) is None
    assert brno.rows("select * from session") == []


def test_a_session_ends_with_its_longest_time(brno: TestSite, sessions: Sessions) -> None:
    secret, _ = sessions.begin(JANA, VOUCHED)
    for _ in range(7):
        brno.clock.forward(500)
        assert sessions.find(secret) is not None
    brno.clock.forward(101)
    assert sessions.find(secret) is None


def test_a_session_ends_when_the_institution_says(brno: TestSite, sessions: Sessions) -> None:
    until = brno.clock() + 60_000_000
    secret, begun = sessions.begin(JANA, replace(VOUCHED, until=until))
    assert begun.until_at == until
    brno.clock.forward(61)
    assert sessions.find(secret) is None


def test_an_institution_ends_the_sessions_that_it_names(sessions: Sessions) -> None:
    first, _ = sessions.begin(JANA, VOUCHED)
    second, _ = sessions.begin(JANA, replace(VOUCHED, session_index="_s2"))
    assert sessions.end_named("https://another.test", "_n1") == 0
    assert sessions.end_named(IDP, "_n1", ("_s2", "_s9")) == 1
    assert sessions.find(second) is None
    assert sessions.find(first) is not None
    assert sessions.end_named(IDP, "_n1") == 1
    assert sessions.find(first) is None


def test_a_new_login_in_a_browser_ends_what_it_had(sessions: Sessions) -> None:
    before, _ = sessions.begin(JANA, VOUCHED, browser="one")
    other, _ = sessions.begin(JANA, VOUCHED, browser="another")
    after, _ = sessions.begin(JANA, VOUCHED, browser="one")
    assert [sessions.find(secret) is None for secret in (before, other, after)] == [True, False, False]


def test_a_person_has_so_many_sessions_and_no_more(brno: TestSite, sessions: Sessions) -> None:
    secrets = []
    for _ in range(MANY + 2):
        brno.clock.forward(1)
        secrets.append(sessions.begin(JANA, VOUCHED)[0])
    assert [sessions.find(secret) is None for secret in secrets] == [True, True, *[False] * MANY]


def test_what_is_over_is_swept_away_and_recorded(brno: TestSite, sessions: Sessions) -> None:
    sessions.begin(JANA, VOUCHED, how="SAML")
    brno.clock.forward(601)
    sessions.begin(JANA, VOUCHED)
    assert sessions.sweep() == 1
    assert sessions.sweep() == 0
    deeds = [row[0] for row in brno.rows("select deed from audit order by seq")]
    assert [("login" in deed, "logout" in deed) for deed in deeds] == [(True, False), (False, True)]
    assert all("jana@hospital-brno.test" in deed for deed in deeds)


def test_a_login_that_is_refused_is_recorded_as_such(brno: TestSite, sessions: Sessions) -> None:
    sessions.refused(who="jana", issuer=IDP, address="192.0.2.7", how="SAML", reason="it was replayed")
    ((deed,),) = brno.rows("select deed from audit")
    assert '"refused":true' in deed
    assert "192.0.2.7" in deed


def test_the_token_of_forms_says_nothing_of_the_secret() -> None:
    assert form_token("a") == form_token("a")
    assert len({form_token("a"), form_token("b"), form_token("a", "other"), "a"}) == 4
