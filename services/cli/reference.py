"""The commands as `docs/COMMANDS.md` describes them, out of their own help.

`python -m services.cli.reference` writes the sections of that page.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import click

from services.cli.commands import Examples
from services.cli.main import main


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, groups before what is in them."""
    for name, command in group.commands.items():
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


def section(name: str, command: click.Command) -> str:
    """The section about one command: what it does, how it is called, its options, examples."""
    parts = [f"## `{name}`", sentences(command.help or "")]
    if not isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        parts += [usage(name, command, context), *options(command, context), *examples(command)]
    return "\n\n".join(parts) + "\n"


def sentences(text: str) -> str:
    """The help with one sentence a line."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n")]
    return "\n\n".join(re.sub(r"(?<=[\w)`]\.) (?=[A-Z])", "\n", paragraph) for paragraph in paragraphs)


def usage(name: str, command: click.Command, context: click.Context) -> str:
    """The line that shows the order of the arguments."""
    arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
    more = ["[OPTIONS]"] if len(arguments) < len(command.params) else []
    return f"`{' '.join((name, *arguments, *more))}`"


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """The table of options, if there are any."""
    rows = [_row(param, context) for param in command.params if isinstance(param, click.Option)]
    if rows:
        yield "\n".join(("| option | what it does | default |\n|---|---|---|", *rows))


def _row(option: click.Option, context: click.Context) -> str:
    told = re.fullmatch(r"(.*?)(?:  \[default: (.*)\])?", option.help or "")
    assert told is not None
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    return f"| `{option.opts[0]}`{value} | {told[1]} | {told[2] or _default(option)} |"


def _default(option: click.Option) -> str:
    if option.required:
        return "must be given"
    return f"`{option.default}`" if option.show_default else ""


def examples(command: click.Command) -> Iterator[str]:
    """The examples as they would be typed."""
    if isinstance(command, Examples) and command.examples:
        yield "\n".join(("```", *command.examples, "```"))


if __name__ == "__main__":
    sys.stdout.write("\n".join(section(*one) for one in commands(main, "konzilium")))
