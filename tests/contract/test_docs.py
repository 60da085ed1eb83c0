"""What is not documented does not exist: settings, commands, options, exit codes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from node.domain.finding import Finding
from node.domain.instance import Conflict, Quarantined
from node.domain.principal import Device, Knock
from node.identity.rotation import Progress
from node.settings.load import table
from node.settings.text import EXAMPLE, markdown, toml
from services.cli.alerts import AlertRow
from services.cli.care.brake import BrakeRow
from services.cli.care.proof import ProofRow
from services.cli.care.scrub import ScrubRow
from services.cli.federation.peers import OwnState, PeerState
from services.cli.main import main
from services.cli.output import MEANINGS
from services.cli.reference import commands
from services.cli.reference import section as written
from services.cli.status import Status

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs" / "SETTINGS.md").read_text("utf-8")
COMMANDS = (ROOT / "docs" / "COMMANDS.md").read_text("utf-8")


ALL = dict(commands(main, "konzilium"))
LEAVES = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}


def section(name: str) -> str:
    """The part of COMMANDS.md about a command."""
    _, _, after = COMMANDS.partition(f"\n## `{name}`\n")
    return after.partition("\n## ")[0]


@pytest.mark.parametrize("entry", list(table()), ids=lambda entry: entry.name)
def test_every_setting_is_in_the_table(entry):
    rows = [line for line in markdown().splitlines() if line.startswith(f"| `{entry.name}` |")]
    assert len(rows) == 1
    assert rows[0] in SETTINGS, "take the table that `python -m node.settings.text markdown` writes"


def test_the_page_names_no_setting_that_does_not_exist():
    named = set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", SETTINGS, re.MULTILINE))
    assert named == {entry.name for entry in table()}


def test_the_example_is_what_init_would_write():
    example = (ROOT / "conf" / "site.example.toml").read_text("utf-8")
    assert example == toml(EXAMPLE), "take what `python -m node.settings.text` writes"


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_a_section_that_says_what_its_help_says(name):
    assert written(name, ALL[name]).partition("\n")[2].strip() == section(name).strip(), (
        "take the section that `python -m services.cli.reference` writes"
    )


def test_the_page_describes_no_command_that_does_not_exist():
    assert set(re.findall(r"^## `(konzilium .*)`$", COMMANDS, re.MULTILINE)) == set(ALL)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name, command in LEAVES.items()
        for param in command.params
        for option in param.opts
        if option.startswith("--")
    ],
)
def test_every_option_is_explained(name, option):
    assert re.search(rf"^\| `{option}`", section(name), re.MULTILINE)


@pytest.mark.parametrize("name", LEAVES)
def test_the_page_explains_no_option_that_does_not_exist(name):
    explained = set(re.findall(r"^\| `(--[a-z-]+)`", section(name), re.MULTILINE))
    assert explained == {
        option for param in LEAVES[name].params for option in param.opts if option.startswith("--")
    }


@pytest.mark.parametrize("name", LEAVES)
def test_every_argument_is_in_the_usage_line_and_every_example_in_the_section(name):
    command = LEAVES[name]
    context = click.Context(command, info_name=name)
    arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
    assert f"`{' '.join((name, *arguments))}" in section(name)
    assert command.examples
    for example in command.examples:
        assert example in section(name)


@pytest.mark.parametrize("name", LEAVES)
def test_examples_can_be_typed(name):
    for example in LEAVES[name].examples:
        assert example.startswith(name), example


@pytest.mark.parametrize("code", list(MEANINGS))
def test_every_exit_code_is_explained(code):
    assert f"| {int(code)} | {MEANINGS[code]} |" in COMMANDS


@pytest.mark.parametrize(
    "cls",
    [
        Status,
        AlertRow,
        Device,
        Knock,
        Quarantined,
        Conflict,
        OwnState,
        PeerState,
        Progress,
        Finding,
        BrakeRow,
        ProofRow,
        ScrubRow,
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_key_of_json_is_named(cls):
    page = COMMANDS.partition("## What `--json` writes")[2]
    assert not [field.name for field in fields(cls) if f"`{field.name}`" not in page]
