"""The story of the demonstration, from two empty folders to the proof; every step checks what it claims."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from node.domain.errors import NodeError
from node.wiring import open_site
from services.cli.demo.apart import cut, heal
from services.cli.demo.asking import ask_everywhere
from services.cli.demo.commands import Commands
from services.cli.demo.copying import kill_in_the_middle, send_real_files
from services.cli.demo.corpus import ct_series, portions
from services.cli.demo.joining import join, open_sites
from services.cli.demo.proof import prove
from services.cli.demo.running import Node, ending, made
from services.cli.demo.stage import At, Say, Stage, Story

SCENES = (open_sites, join, send_real_files, kill_in_the_middle, cut, heal, ask_everywhere, prove)


@contextmanager
def told(konzilium: Commands, folder: Path, say: Say) -> Iterator[tuple[list[Node], list[str]]]:
    """Run the demonstration in an empty folder; the nodes run until the end, unless they are left.

    Yields:
        The nodes, and the claims that did not hold.
    """
    story = Story(say)
    say("Two hospitals, Brno and Prague, keep each other's images. All of it happens on this machine.")
    nodes: list[Node] = []
    with ending(nodes):
        try:
            _play(story, konzilium, folder, nodes)
        except (NodeError, OSError) as error:
            story.failures.append(str(error))
            say(f"   NOT  {error}")
        story.pause()
        say(f"\n{time.monotonic() - story.begun:.0f} seconds in all.")
        yield nodes, story.failures


def _play(story: Story, konzilium: Commands, folder: Path, nodes: list[Node]) -> None:
    series = ct_series(folder / "ct")
    nodes += [made(konzilium, folder, name) for name in ("brno", "prague")]
    with ExitStack() as opened:
        brno, prague = (At(node=node, site=opened.enter_context(open_site(node.directory))) for node in nodes)
        stage = Stage(
            story=story, konzilium=konzilium, brno=brno, prague=prague, series=series, files=portions()
        )
        for scene in SCENES:
            scene(stage)
