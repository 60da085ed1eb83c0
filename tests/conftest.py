"""Fixtures for every test: a site folder, a served node, a port that is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.node_process import NodeProcess
from tests.support.peers import free_port


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Make site folders that can be served; what still runs at the end of the test is killed."""
    made: list[NodeProcess] = []

    def make(name: str = "brno", *, folder: Path | None = None, **options: str) -> NodeProcess:
        node = NodeProcess.make(folder or tmp_path / name, logs=tmp_path, **{"site": name} | options)
        made.append(node)
        return node

    yield make
    for node in made:
        node.kill()


@pytest.fixture
def node(make_node: Callable[..., NodeProcess]) -> NodeProcess:
    """A served node called KONZILIUM that knows one device, SENDER."""
    made = make_node()
    made.add_device("SENDER")
    return made.start()


@pytest.fixture
def port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return free_port()
