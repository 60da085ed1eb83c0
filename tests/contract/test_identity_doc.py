"""docs/IDENTITY.md tells administrators what to type: its commands, options, settings and roles exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from node.identity.saml.attributes import OIDS
from node.policy.decide import default
from node.settings.load import table
from services.cli.main import main
from services.cli.reference import commands

PAGE = (Path(__file__).parents[2] / "docs" / "IDENTITY.md").read_text("utf-8")
ALL = dict(commands(main, "konzilium"))
TYPED = [line.strip() for line in re.findall(r"^ *konzilium .+$", PAGE, re.MULTILINE)]
SETTINGS = {entry.name for entry in table()}


def _command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and the words behind it."""
    for count in (3, 2):
        name = " ".join(words[:count])
        if name in ALL and not isinstance(ALL[name], click.Group):
            return ALL[name], words[count:]
    raise AssertionError(f"there is no command {' '.join(words)}")


@pytest.mark.parametrize("line", TYPED)
def test_every_command_and_option_exists(line):
    command, rest = _command(shlex.split(line))
    options = {name for option in command.params for name in option.opts}
    arguments = [one for one in command.params if isinstance(one, click.Argument) and one.required]
    assert {word for word in rest if word.startswith("--")} <= options
    assert len([word for word in rest if not word.startswith("--")]) >= len(arguments)


def test_every_command_that_is_mentioned_exists():
    for name in re.findall(r"`(konzilium [a-z]+(?: [a-z]+)?)", PAGE):
        assert name in ALL or name.rpartition(" ")[0] in ALL, name


def test_every_setting_that_is_mentioned_exists():
    mentioned = set(re.findall(r"`((?:web|login|federation|audit)\.[a-z_]+)", PAGE))
    assert mentioned
    assert mentioned <= SETTINGS
    for text in re.findall(r"```toml\n(\[web\].+?)```", PAGE, re.DOTALL):
        for section, values in tomllib.loads(text).items():
            assert {f"{section}.{name}" for name in values} <= SETTINGS


def test_every_attribute_that_is_read_is_in_the_table():
    for name in OIDS:
        assert f"`{name}`" in PAGE or name.startswith("urn:oasis")


def test_roles_that_are_granted_there_are_roles_of_the_policy():
    granted = {words[5] for line in TYPED if (words := shlex.split(line))[1:3] == ["grant", "add"]}
    assert granted
    assert granted <= set(default().roles)


def test_the_contents_lead_to_headings():
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([a-z0-9-]+)\)", PAGE)) <= headings
