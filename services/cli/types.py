"""Arguments of the command line, checked where they enter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from node.domain.errors import MalformedIdentifier
from node.domain.ids import AETitle, Identifier, InstanceUID, RuleName, SeriesUID, SiteId, StudyUID
from node.domain.principal import DEVICE_ACTIONS, Action


class IdentifierType(click.ParamType[Identifier]):
    """An identifier of the node as an argument."""

    def __init__(self, form: type[Identifier], name: str) -> None:
        self.form = form
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Identifier:
        """Check the text, or say what form it must have."""
        try:
            return self.form(str(value))
        except MalformedIdentifier:
            self.fail(f"{value!r} is not a valid {self.form.what}.", param, ctx)


class ActionsType(click.ParamType[frozenset[Action]]):
    """What a device may do: a list such as `store,query`."""

    name = "actions"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> frozenset[Action]:
        """Read the list, or say what it may hold."""
        if isinstance(value, frozenset):
            return value
        words = {word.strip().lower() for word in str(value).split(",")}
        unknown = words - {action.value for action in DEVICE_ACTIONS}
        if unknown:
            self.fail(f"{', '.join(sorted(unknown))!r}: a device may store, query or retrieve.", param, ctx)
        return frozenset(Action(word) for word in words)


SITE_NAME = IdentifierType(SiteId, "name")
AE = IdentifierType(AETitle, "ae_title")
STUDY = IdentifierType(StudyUID, "uid")
SERIES = IdentifierType(SeriesUID, "uid")
INSTANCE = IdentifierType(InstanceUID, "uid")
RULE = IdentifierType(RuleName, "name")
ACTIONS = ActionsType()
PORT = click.IntRange(1, 65535)
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
EXISTING = click.Path(path_type=Path, exists=True, readable=True)
NEW_PATH = click.Path(path_type=Path)

site_argument = click.argument("directory", metavar="DIR", type=FOLDER)
json_option = click.option(
    "--json", "json_", is_flag=True, help="Write one line of JSON, for a program to read."
)
