"""Commands and groups with examples, whose expected failures are one line and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from node.domain.errors import NodeError
from services.cli.output import Exit, complain, exit_code


class Examples:
    """Writes the examples of a command below its help."""

    examples: Sequence[str] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each example on a line of its own."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(Examples, click.Command):
    """A command with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples


class Group(Examples, click.Group):
    """A group with examples."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples


class Program(Group):
    """The whole command line: no traceback for a failure that is expected."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and tell its failure, if any."""
        try:
            return super().invoke(ctx)
        except NodeError as error:
            complain(error)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            complain("interrupted; what was done before stays done")
            ctx.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            raise
        except OSError as error:
            complain(f"{error.filename or 'the system'}: {error.strerror or error}")
            ctx.exit(Exit.FAILED)
