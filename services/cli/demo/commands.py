"""The commands that a site owner types, carried out in this process, and what they answer."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import click

from node.domain.errors import Rejected
from services.cli.output import Exit


class Commands:
    """`konzilium`, as a function."""

    def __init__(self, program: click.Command) -> None:
        """The commands of a program."""
        self._program = program

    def __call__(self, *words: object) -> str:
        """Carry out a command, and return what it writes.

        Raises:
            Rejected: it failed; the error holds its own words.
        """
        said, complaint = StringIO(), StringIO()
        with redirect_stdout(said), redirect_stderr(complaint):
            try:
                code = self._program.main(
                    [str(word) for word in words], prog_name="konzilium", standalone_mode=False
                )
            except click.ClickException as error:
                code = error.exit_code
                complaint.write(error.format_message())
        if code == Exit.INTERRUPTED:
            raise KeyboardInterrupt
        if code not in (None, Exit.FINE, Exit.ATTENTION):
            why = (complaint.getvalue() or said.getvalue()).strip().removeprefix("konzilium: ").rstrip(".")
            raise Rejected(f"`konzilium {words[0]}` ended with {code}: {why}")
        return said.getvalue()

    def json(self, *words: object) -> Any:
        """Carry out a command with `--json`, and read what it writes.

        Raises:
            Rejected: it failed.
        """
        return json.loads(self(*words, "--json"))
