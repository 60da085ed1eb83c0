"""`konzilium audit` as a group of commands."""

from __future__ import annotations

import click

from services.cli.audit.export import export
from services.cli.audit.heads import heads
from services.cli.audit.verify import settle, verify
from services.cli.audit.who import who
from services.cli.commands import Group


@click.group(cls=Group, short_help="See who did what, and that nobody has changed the record of it.")
def audit() -> None:
    """See who did what with whose data, and that nobody has changed the record of it.

    Every access and every refusal is in the audit record of the site, in an unbroken chain. Its end is signed
    and given to every member, so that another site sees when something in it is changed afterwards. Whoever
    reads the record is recorded, too.
    """


for command in (who, verify, export, heads, settle):
    audit.add_command(command)
