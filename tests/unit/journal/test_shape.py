"""Facts of other sites say what facts of their kind say, or do not come in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.errors import MalformedMessage
from node.domain.ids import SiteId
from node.journal.entry import LOCAL, Entry, Fact
from node.journal.shape import demand_shape

DIGEST = "ab" * 32
GOOD = {
    Fact.INSTANCE: {
        "uid": "1.2.3",
        "digest": DIGEST,
        "syntax": "1.2.840.10008.1.2.1",
        "size": 5,
        "source": "device:CT1@prague",
        "study": "1.2",
        "modality": "CT",
    },
    Fact.COMPARE: {"uid": "1.2.3", "kept": DIGEST, "other": "cd" * 32, "equal": True},
    Fact.COPIES: {"of": "brno", "verified": [DIGEST], "gone": []},
    Fact.CORRECT: {"study": "1.2", "set": {"00081030": "HEAD"}, "reason": "typo", "by": "operator:a@b"},
    Fact.MERGE: {"patient": ["", "1"], "into": ["X", "2"], "reason": "", "by": "", "seen": {"brno/1": 4}},
    Fact.RETRACT: {"uid": "1.2.3", "study": "1.2", "withdrawn": True, "reason": "", "by": ""},
    Fact.MARK: {
        "study": "1.2",
        "sensitivity": "restricted",
        "consent": {"research": False},
        "reason": "staff",
        "by": "operator:a@b",
    },
    Fact.LOCK: {"study": "1.2", "until": 5, "reason": "", "by": "", "seen": {}},
    Fact.MEMBER: {"site": "olomouc", "descriptor": "<x/>"},
    Fact.STANDING: {"site": "olomouc", "standing": "active", "reason": "", "by": ""},
    Fact.CONSENT: {"site": "olomouc", "export": [{}], "accept": [{"modalities": ["CT"]}], "by": ""},
    Fact.ROLE: {
        "site": "brno",
        "role": "backup",
        "term": 2,
        "successors": ["brno", "olomouc"],
        "of": "1 brno 1 1",
        "after": "",
        "reason": "lost",
        "by": "operator:a@prague",
    },
}


def entry(kind: Fact, says: object, at: int = 1) -> Entry:
    return Entry(
        origin=SiteId("prague"),
        epoch=1,
        seq=1,
        at=at,
        kind=kind,
        payload=says if isinstance(says, str) else json.dumps(says),
        previous="0" * 64,
        hash="0" * 64,
    )


@pytest.mark.parametrize("kind", GOOD)
def test_a_fact_as_sites_state_it_comes_in(kind):
    demand_shape(entry(kind, GOOD[kind]))


def test_every_kind_has_a_shape():
    assert GOOD.keys() | LOCAL == set(Fact)


@pytest.mark.parametrize("kind", sorted(LOCAL))
def test_what_concerns_one_site_alone_comes_in_from_nowhere(kind):
    with pytest.raises(MalformedMessage):
        demand_shape(entry(kind, {"digest": DIGEST, "name": "x"}))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in GOOD for name in GOOD[kind]])
def test_a_fact_with_a_value_of_another_type_stays_out(kind, name):
    with pytest.raises(MalformedMessage):
        demand_shape(entry(kind, GOOD[kind] | {name: {"another": ["type", None]}}))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Fact.INSTANCE, "uid", "1.2'; DROP"),
        (Fact.INSTANCE, "digest", "AB" * 32),
        (Fact.INSTANCE, "size", -1),
        (Fact.INSTANCE, "size", True),
        (Fact.COPIES, "verified", ["../../etc/passwd"]),
        (Fact.MEMBER, "site", "Prague "),
        (Fact.STANDING, "standing", "emperor"),
        (Fact.CONSENT, "export", [{"colour": "red"}]),
        (Fact.ROLE, "role", "emperor"),
        (Fact.ROLE, "successors", ["Prague "]),
        (Fact.ROLE, "successors", ["prague"] * 65),
        (Fact.ROLE, "term", -1),
        (Fact.CORRECT, "set", {"not a tag": "x"}),
        (Fact.CORRECT, "reason", "x" * 5000),
    ],
)
def test_a_fact_with_a_value_that_is_none_of_its_kind_stays_out(kind, name, value):
    with pytest.raises(MalformedMessage):
        demand_shape(entry(kind, GOOD[kind] | {name: value}))


@pytest.mark.parametrize("at", [-1, 10**16])
def test_a_time_that_stamps_cannot_hold_stays_out(at):
    with pytest.raises(MalformedMessage):
        demand_shape(entry(Fact.COMPARE, GOOD[Fact.COMPARE], at))


def test_a_payload_that_nests_without_end_stays_out():
    with pytest.raises(MalformedMessage):
        demand_shape(entry(Fact.INSTANCE, "[" * 200_000))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_whatever_comes_in_is_a_fact_or_is_refused_as_none(kind, says):
    try:
        demand_shape(entry(kind, says))
    except MalformedMessage:
        return
    assert isinstance(says, dict)
