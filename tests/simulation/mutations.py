"""Bugs that are planted in the node, one at a time: each of them the simulation has to find.

A mutation changes one thing of the node and nothing of the simulation. Next to it stands the promise that
it breaks, and seeds that are known to show it; `python -m tests.simulation.mutations` looks for others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

from node.archive import commitment, settle
from node.catalog.journal import Journal
from node.catalog.roles import Roles as RoleRows
from node.catalog.unit import Unit
from node.catalog.wants import Wants
from node.domain.role import Role
from node.journal import merge
from node.journal.entry import Fact
from node.replication.courier import Courier
from node.replication.dropping import Dropping
from node.replication.effects import Effects
from node.replication.intake import Intake
from tests.simulation.disk import Disk
from tests.simulation.plan import plan_of
from tests.simulation.runs import run

Mutation = Callable[[], Any]
"""Makes the context in which the bug is there."""


def acknowledged_before_it_is_durable() -> Any:
    """The door answers when the bytes are written, and the disk syncs them some time later."""
    return mock.patch.object(Disk, "sync", lambda self, digest: None)


def retractions_in_the_order_of_arrival() -> Any:
    """Of several decisions about an instance the one counts that was read last."""
    real = merge._is_withdrawn
    return mock.patch.object(merge, "_is_withdrawn", lambda facts, locks: real(facts[::-1], locks))


def cursor_before_facts() -> Any:
    """The courier moves on though the last fact of a page was not kept."""
    real = Intake._keep

    def keep(self: Intake, unit: Unit, member: Any, entry: Any, told: Any, gaps: Any) -> None:
        if entry.kind is not Fact.INSTANCE or entry.seq % 3:
            real(self, unit, member, entry, told, gaps)

    return mock.patch.object(Intake, "_keep", keep)


def wants_are_forgotten_when_a_fetch_fails() -> Any:
    """Bytes that could not be had once are not asked for again."""
    return mock.patch.object(Wants, "failed", lambda self, digest, why, pause: self.drop(digest))


def given_up_without_a_keeper() -> Any:
    """A copy is given up on the word of the catalog alone that another site has one."""
    return mock.patch.object(Dropping, "_keeper", lambda self, digest, holders: holders[0])


def committed_without_copies() -> Any:
    """Storage Commitment is answered although the bytes are not there."""
    return mock.patch.object(commitment, "_doubt", lambda unit, blobs, wanted: None)


def repaired_without_evidence() -> Any:
    """Damaged bytes are replaced, and nothing of them is kept."""
    return mock.patch.object(Disk, "set_aside", lambda self, digest: True)


def folded_without_proof() -> Any:
    """Two forms of an instance are called one without a comparison."""
    return mock.patch.object(settle, "_is_equal", lambda *_, **__: True)


def decisions_by_the_clock_alone() -> Any:
    """A decision is stamped with what the clock says, also where it follows a later one."""
    real = Journal.append

    def append(self: Journal, kind: Fact, says: Mapping[str, object], **more: Any) -> Any:
        with mock.patch.object(Journal, "about", lambda self, subject: ()):
            return real(self, kind, says, **more)

    return mock.patch.object(Journal, "append", append)


def the_fence_is_open() -> Any:
    """A site whose place was taken does not learn of it."""
    return mock.patch.object(
        RoleRows, "here", lambda self: replace(self.of(self._unit.origin), role=Role.ARCHIVE)
    )


def gaps_are_dropped() -> Any:
    """What was withheld is not asked for again when the terms change."""
    return mock.patch.object(Courier, "_fill_gaps", lambda self, peer, member, answer: None)


def copies_are_not_taken_back() -> Any:
    """That a copy is gone is told, and nobody listens."""
    real = Effects._copies

    def copies(self: Effects, unit: Unit, entry: Any) -> None:
        if not entry.says["gone"]:
            real(self, unit, entry)

    return mock.patch.object(Effects, "_copies", copies)


MUTATIONS: dict[str, Mutation] = {
    made.__name__: made
    for made in (
        acknowledged_before_it_is_durable,
        retractions_in_the_order_of_arrival,
        cursor_before_facts,
        wants_are_forgotten_when_a_fetch_fails,
        given_up_without_a_keeper,
        committed_without_copies,
        repaired_without_evidence,
        folded_without_proof,
        decisions_by_the_clock_alone,
        the_fence_is_open,
        gaps_are_dropped,
        copies_are_not_taken_back,
    )
}


IN_A_LINE = frozenset({"the_fence_is_open"})
"""Those that can be found only where sites follow each other."""
SHOWN_BY: dict[str, tuple[int, ...]] = {
    "acknowledged_before_it_is_durable": (8, 16),
    "retractions_in_the_order_of_arrival": (17,),
    "cursor_before_facts": (1, 2),
    "wants_are_forgotten_when_a_fetch_fails": (16, 17),
    "given_up_without_a_keeper": (1, 2),
    "committed_without_copies": (3, 4),
    "repaired_without_evidence": (17,),
    "folded_without_proof": (1, 2),
    "decisions_by_the_clock_alone": (42,),
    "the_fence_is_open": (4, 9),
    "gaps_are_dropped": (17, 42),
    "copies_are_not_taken_back": (2, 8),
}
"""Seeds that are known to show each of them, and a neighbour."""


def main() -> int:
    """Look for short runs that find each mutation, and that keep all promises without it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations", description=main.__doc__)
    parser.add_argument("names", nargs="*", default=list(MUTATIONS))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=25, help="of the longest run that is tried")
    parser.add_argument("--enough", type=int, default=2, help="seeds after which to stop")
    options = parser.parse_args()
    for name in options.names:
        found: list[int] = []
        for seed in range(1, options.seeds + 1):
            plan = plan_of(seed)
            if plan.steps > options.steps or (name in IN_A_LINE and not plan.line):
                continue
            with MUTATIONS[name]():
                done = run(seed)
            if done.broken:
                print(f"    {name}: {seed} ({plan.steps} steps): {done.broken[:100]}", flush=True)
                found.append(seed)
                if len(found) >= options.enough:
                    break
        print(f"{name}: {tuple(found)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
