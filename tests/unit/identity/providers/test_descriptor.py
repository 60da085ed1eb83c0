"""An identity provider speaks for its scopes and for nobody else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.identity.providers.descriptor import POST, REDIRECT, Provider, is_bounded, read_provider, written

BRNO = Provider(
    entity="https://idp.hospital-brno.test/saml",
    names=(("cs", "Nemocnice Brno"), ("en", "Brno Hospital")),
    sso=((REDIRECT, "https://idp.hospital-brno.test/sso"),),
    slo=((POST, "https://idp.hospital-brno.test/slo", ""),),
    certificates=("PEM",),
    scopes=(("hospital-brno.test", False), (r"^(.+\.)?clinic\.test$", True)),
)


@pytest.mark.parametrize(
    "scope", ["hospital-brno.test", "HOSPITAL-Brno.test", "clinic.test", "eye.clinic.test", "a.b.clinic.test"]
)
def test_it_speaks_for_its_scopes_in_any_case(scope):
    assert BRNO.speaks_for(scope)


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "hospital-prague.test",
        "sub.hospital-brno.test",
        "hospital-brno.test.evil.test",
        "evilhospital-brno.test",
        "evilclinic.test",
        "clinic.test.evil.test",
        "clinicxtest",
        "clinic.test\n",
        "a@clinic.test\nclinic.test",
        "x" * 250 + ".clinic.test",
    ],
)
def test_it_does_not_speak_for_others(scope):
    assert not BRNO.speaks_for(scope)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            ".*",
            ".+",
            "^.*$",
            r".*|a\.test",
            r"(a\.test)?",
            r"(.+)+\.a\.test",
            "a.test",
            r"\wa\.test",
            "test",
        ),
        *("[", r"(?:a|.*)b\.test", r"[^x]*.*.*a\.test", "a\\.test" * 40, r".*\.\w+", r"(a\.test"),
        *(r"(?s:.*)a\.test", r"^a\.test$|", r"a\.test{0}", r"a\.(test)"),
    ],
)
def test_a_pattern_that_is_not_bounded_by_a_domain_is_no_scope(pattern):
    assert not is_bounded(pattern)
    one = Provider(entity="e", sso=(), certificates=(), scopes=((pattern, True),))
    assert not any(one.speaks_for(scope) for scope in ("a.test", "b.test", "evil.test"))


TOKENS = (
    "a",
    "b",
    "\\.",
    ".+",
    ".*",
    "(",
    ")",
    ")?",
    "(?:",
    "^",
    "$",
    "|",
    "[ab]+",
    "[^a]",
    "\\w",
    "*",
    ".",
    "{2}",
)


@given(
    st.lists(st.sampled_from(TOKENS), max_size=12).map("".join),
    st.text(alphabet="ab.", min_size=1, max_size=12),
)
def test_no_pattern_lets_one_speak_for_a_domain_that_it_does_not_end_in(pattern, scope):
    one = Provider(entity="e", sso=(), certificates=(), scopes=((pattern, True),))
    if one.speaks_for(scope):
        ending = re.search(r"[ab]+(\\\.[ab]+)+\$?$", pattern)
        assert ending
        assert scope.endswith(ending[0].rstrip("$").replace("\\", ""))


@pytest.mark.parametrize(
    ("language", "name"), [("cs", "Nemocnice Brno"), ("en", "Brno Hospital"), ("de", "Brno Hospital")]
)
def test_it_is_called_by_the_language_of_the_reader_or_in_english(language, name):
    assert BRNO.name(language) == name


def test_without_a_name_it_is_called_by_its_entity_id():
    assert Provider(entity="https://a.test", sso=(), certificates=()).name("cs") == "https://a.test"


def test_logouts_are_answered_where_it_says_or_where_they_are_asked():
    assert BRNO.logout(POST) == ("https://idp.hospital-brno.test/slo",) * 2
    assert BRNO.logout(REDIRECT) == ("", "")
    assert (BRNO.location(REDIRECT), BRNO.location(POST)) == ("https://idp.hospital-brno.test/sso", "")


def test_what_is_written_is_read_again():
    kept = written(BRNO)
    assert read_provider(kept, entity=BRNO.entity, source="", valid_until=0) == BRNO
