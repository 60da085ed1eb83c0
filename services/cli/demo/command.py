"""`konzilium demo`: one site archives real files, is killed in the middle, and gives everything back."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import click

from services.cli.commands import Command
from services.cli.demo.story import tell
from services.cli.output import Exit, complain, finish, say


@click.command(
    cls=Command,
    short_help="Show the main job on real DICOM files.",
    examples=("konzilium demo", "konzilium demo --check && echo well"),
)
@click.option("--check", is_flag=True, help="Without words: only the exit code tells.")
def demo(*, check: bool) -> None:
    """Show on this machine, in a temporary folder, what a site does.

    It makes a site, stores real files over the network, kills the node in the middle, searches, fetches
    everything again and compares it. Nothing is left behind. The exit code is 1 if anything was otherwise
    than told.
    """
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="konzilium-demo-") as folder:
        failures = tell(Path(folder), (lambda _: None) if check else say)
    for failure in failures:
        complain(f"this did not hold: {failure}")
    finish(Exit.FAILED if failures else Exit.FINE)
