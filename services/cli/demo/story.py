"""The story of the demonstration, from two empty folders to the proof; every step checks what it claims."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.domain.errors import NodeError
from node.wiring import open_site
from services.cli.demo.apart import cut, heal
from services.cli.demo.asking import ask_everywhere
from services.cli.demo.commands import Commands
from services.cli.demo.consulting import consult
from services.cli.demo.copying import kill_in_the_middle, send_real_files
from services.cli.demo.corpus import ct_series, portions
from services.cli.demo.idp.running import IdentityProviders
from services.cli.demo.joining import join, open_sites
from services.cli.demo.proof import prove
from services.cli.demo.running import Node, ending, made
from services.cli.demo.stage import At, Say, Stage, Story

SCENES = (open_sites, join, send_real_files, kill_in_the_middle, cut, heal, ask_everywhere, consult, prove)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What there is when the story has been told."""

    nodes: list[Node]
    providers: IdentityProviders
    failures: list[str]
    """The claims that did not hold."""


@contextmanager
def told(konzilium: Commands, folder: Path, say: Say) -> Iterator[Told]:
    """Run the demonstration in an empty folder; what it starts runs until the end, unless it is left."""
    story = Story(say)
    say("Two hospitals, Brno and Prague, keep each other's images. All of it happens on this machine.")
    cast = Told(nodes=[], providers=IdentityProviders(folder / "idp"), failures=story.failures)
    with ending(cast.nodes), ending([cast.providers]):
        try:
            _play(story, konzilium, folder, cast)
        except (NodeError, OSError) as error:
            story.failures.append(str(error))
            say(f"   NOT  {error}")
        story.pause()
        say(f"\n{time.monotonic() - story.begun:.0f} seconds in all.")
        yield cast


def _play(story: Story, konzilium: Commands, folder: Path, cast: Told) -> None:
    series = ct_series(folder / "ct")
    cast.nodes.extend(made(konzilium, folder, name) for name in ("brno", "prague"))
    with ExitStack() as opened:
        brno, prague = (
            At(node=node, site=opened.enter_context(open_site(node.directory))) for node in cast.nodes
        )
        stage = Stage(
            story=story,
            konzilium=konzilium,
            brno=brno,
            prague=prague,
            providers=cast.providers,
            series=series,
            files=portions(),
        )
        for scene in SCENES:
            scene(stage)
