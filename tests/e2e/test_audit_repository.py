"""A running node sends its audit record to a repository, across restarts of either."""

from __future__ import annotations

from pathlib import Path

from tests.support.certificates import identity
from tests.support.serving import eventually
from tests.support.syslog import Receiver, lines_of


def received(receiver: Receiver) -> list[int]:
    """The numbers of the records, as they came first: what was on its way at a kill may come twice."""
    lines = lines_of("\n".join(text.decode() for text in receiver.lines))
    return list(dict.fromkeys(one.seq for one in lines))


def test_every_record_arrives_in_order_also_when_the_node_was_killed(make_node, tmp_path: Path):
    authority = identity(tmp_path, "authority", ca=True)
    with Receiver(identity(tmp_path, "repository", authority)) as receiver:
        node = make_node()
        for setting, value in {
            "audit.syslog_host": "localhost",
            "audit.syslog_port": receiver.port,
            "audit.syslog_ca": authority.certificate,
        }.items():
            node.set(setting, value)
        node.command("audit", "export", ...)
        node.start()
        eventually(lambda: received(receiver) == [1], "what happened before the node ran is sent")
        node.command("audit", "export", ...)
        eventually(lambda: received(receiver) == [1, 2], "what happens while it runs is sent")
        node.kill()
        node.command("audit", "export", ...)
        node.start()
        eventually(lambda: received(receiver) == [1, 2, 3], "it goes on where it was")
