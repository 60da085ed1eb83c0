"""The errors are one tree, and each says its message with its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from node.domain import errors
from node.domain.errors import NodeError


def tree(error: type[NodeError] = NodeError) -> Iterator[type[NodeError]]:
    yield error
    for lower in error.__subclasses__():
        if lower.__module__ == errors.__name__:
            yield from tree(lower)


def drawn() -> Iterator[tuple[str, str | None]]:
    """Every error in the picture of the module's docstring, with the one above it."""
    path: list[str] = []
    for line in errors.__doc__.split("```")[1].strip().splitlines():
        indent, name = re.match(r"([│├└─ ]*)(\w+)", line).groups()
        depth = len(indent) // 4
        path[depth:] = [name]
        yield name, path[depth - 1] if depth else None


def test_the_picture_of_the_tree_is_the_tree():
    classes = {
        error.__name__: error.__base__.__name__ if error is not NodeError else None for error in tree()
    }
    assert dict(drawn()) == classes
    assert len(list(drawn())) == len(classes)


def test_the_picture_closes_every_branch_once():
    """A corner ends the branch that it is on: nothing of the same depth follows it."""
    ended: dict[int, bool] = {}
    for line in errors.__doc__.split("```")[1].strip().splitlines()[1:]:
        depth = re.match(r"[│ ]*", line).end() // 4
        assert not ended.get(depth), line
        ended = {d: e for d, e in ended.items() if d < depth} | {depth: "└" in line}
    assert all(ended.values())


@pytest.mark.parametrize("error", list(tree()), ids=lambda error: error.__name__)
def test_every_docstring_is_a_sentence_that_takes_the_arguments(error):
    wanted = {int(place) for place in re.findall(r"\{(\d)\}", error.__doc__)}
    arguments = ["{first}", "{second}", "{third}"][: max(wanted, default=-1) + 1]
    message = str(error(*arguments))
    assert wanted == set(range(len(arguments)))
    assert all(argument in message for argument in arguments)
    assert message.endswith((".", ":", ")", "`"))
    assert "\n" not in message
