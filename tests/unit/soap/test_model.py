"""Declarations become types of the wire, and values survive the way there and back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from services.soap.framework.attachments import Attachments
from services.soap.framework.contract import contract_of
from services.soap.framework.docs import read_docs
from services.soap.framework.limits import Limits
from services.soap.framework.model import Count, Many, Text, fields_of, member
from services.soap.framework.names import camel
from services.soap.framework.service import Call, Service, operation
from tests.support.soap_demo import Box, Shelf, State

READABLE = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """A value of every kind."""

    text: str
    count: Count
    number: int
    share: float
    yes: bool
    at: datetime
    few: bytes
    state: State
    box: Box | None
    texts: Annotated[tuple[str, ...], Many(up_to=5)]
    numbers: tuple[int, ...] = ()
    quiet: bool = True


class Echo(Service):
    """Says what it hears."""

    name, path = "Echo", "echo"

    @operation()
    def say(self, call: Call, thing: Everything, often: int = 1) -> Everything:
        """Say it again."""
        return thing


BOXES = st.builds(
    Box,
    uid=st.just("1.2"),
    digest=st.none() | st.just("a" * 64),
    size=st.integers(0, 2**64 - 1),
    state=st.sampled_from(State),
    seen_at=st.none(),
    labels=st.lists(st.just("AB"), max_size=4).map(tuple),
    open=st.booleans(),
)
EARLY, LATE = datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2900-01-01")
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
THINGS = st.builds(
    Everything,
    text=st.text(READABLE),
    count=st.integers(0, 2**64 - 1),
    number=st.integers(-(2**63), 2**63 - 1),
    share=st.floats(allow_nan=False, allow_infinity=False),
    yes=st.booleans(),
    at=st.datetimes(min_value=EARLY, max_value=LATE, timezones=ZONES),
    few=st.binary(max_size=40),
    state=st.sampled_from(State),
    box=st.none() | BOXES,
    texts=st.lists(st.text(READABLE), max_size=5).map(tuple),
    numbers=st.lists(st.integers(-9, 9), max_size=5).map(tuple),
    quiet=st.booleans(),
)


@given(thing=THINGS)
def test_what_is_written_is_valid_and_is_read_as_what_it_was(thing):
    contract = contract_of(Echo)
    [one] = contract.operations.values()
    beside = Attachments(Limits(), beside=False)
    element = etree.fromstring(etree.tostring(one.respond(thing, beside)))
    contract.validator.demand(element)
    assert one.result_of(element, beside) == thing


def test_what_is_not_there_is_what_the_declaration_says():
    [one] = contract_of(Echo).operations.values()
    given = one.read(
        etree.fromstring(
            '<say xmlns="urn:konzilium:echo:1"><thing><text>a</text><count>1</count><number>1</number>'
            "<share>1</share>"
            "<yes>1</yes><at>2026-01-02T03:04:05</at><few/><state>owed</state></thing></say>"
        ),
        Attachments(Limits(), beside=False),
    )
    thing = given["thing"]
    assert "often" not in given
    assert (thing.box, thing.texts, thing.numbers, thing.quiet) == (None, (), (), True)
    assert thing.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("hint", [int | str, list[int], dict[str, int], "Box", None])
def test_what_has_no_form_on_the_wire_is_refused_when_it_is_declared(hint):
    with pytest.raises(TypeError):
        member("odd", hint)


def test_two_types_of_one_name_are_refused():
    class Clash(Service):
        """Two meanings of one word."""

        name, path = "Clash", "clash"

        @operation()
        def meet(
            self,
            call: Call,
            one: Annotated[str, Text(name="Word", longest=1)],
            other: Annotated[str, Text(name="Word", longest=2)],
        ) -> None:
            """Meet."""

    with pytest.raises(TypeError, match="Word"):
        contract_of(Clash)


def test_two_services_may_use_one_type_each_in_its_own_namespace():
    for service in (Shelf, Echo):
        contract = contract_of(service)
        names = [one.get("name") for one in contract.schema.iter("{*}complexType")]
        assert "Box" in names
        assert contract.schema.get("targetNamespace") == contract.namespace


def test_names_of_python_are_camels_on_the_wire():
    assert camel("prepare_to_get") == "prepareToGet"
    assert [one.tag for one in fields_of(Box)] == [
        "uid",
        "digest",
        "size",
        "state",
        "seenAt",
        "labels",
        "open",
    ]


def test_a_docstring_is_taken_apart():
    def documented():
        """Do it.

        More of
        it.

        Args:
            one: the first
                of them.
            two: the other.

        Returns:
            Nothing
            at all.
        """

    docs = read_docs(documented)
    assert docs.text == "Do it.\nMore of it."
    assert docs.parts == {"one": "the first of them.", "two": "the other."}
    assert docs.returns == "Nothing at all."
