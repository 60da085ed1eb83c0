"""Which sites owe copies of what this site has received, brought in line with rules, terms and decisions.

```
fact of this site ──▶ does its form stay? ──▶ rules: who owes a copy ──┐
                                                                      ├──▶ owed from now on, or not any more
what is known of copies already ──────────────────────────────────────┘
```

What a site has said of its copy stays as it is: only rows that are owed come and go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.catalog import traits
from node.catalog.conflicts import FOLDED
from node.catalog.unit import Unit
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import CopyState, Replica
from node.journal.entry import Entry, Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A copy that is owed from now on, or not any more."""

    instance: InstanceUID
    digest: Digest
    size: int
    site: SiteId
    owed: bool


def settle(unit: Unit, uid: InstanceUID) -> int:
    """Bring in line what is owed of an instance that this site received; how many rows changed."""
    facts = [fact for fact in unit.journal.about(uid) if fact.origin == unit.origin]
    return carry_out(unit, moves=[move for fact in facts for move in moves(unit, fact)])


def moves(unit: Unit, entry: Entry) -> Sequence[Move]:
    """What a fact of this site makes owed, compared with what is."""
    if entry.kind is not Fact.INSTANCE:
        return ()
    says = entry.says
    uid, digest = InstanceUID.trusted(says["uid"]), Digest.trusted(says["digest"])
    known = {replica.site: replica.state for replica in unit.replicas.of_digest(digest)}
    wanted = set(_wanted(unit, uid, digest))
    owed = {site for site, state in known.items() if state is CopyState.OWED}
    return [
        Move(instance=uid, digest=digest, size=says["size"], site=site, owed=site in wanted)
        for site in sorted((wanted - known.keys()) | (owed - wanted))
    ]


def carry_out(unit: Unit, *, moves: Sequence[Move]) -> int:
    """Write those moves that are still to be made; how many those were."""
    return sum(_carry_out(unit, move) for move in moves)


def _carry_out(unit: Unit, move: Move) -> bool:
    known = unit.replicas.state(move.digest, move.site)
    if move.owed and known is None:
        unit.replicas.put(
            Replica(
                instance=move.instance,
                digest=move.digest,
                site=move.site,
                state=CopyState.OWED,
                size=move.size,
                at=unit.now,
            )
        )
        return True
    if not move.owed and known is not None and known[0] is CopyState.OWED:
        unit.replicas.forget(move.digest, move.site)
        return True
    return False


def _wanted(unit: Unit, uid: InstanceUID, digest: Digest) -> Sequence[SiteId]:
    """Where copies of a form are to be: nowhere, if it is withdrawn, or folded into another one."""
    shown = unit.instances.digest(uid)
    stays = shown == digest or (shown is not None and unit.conflicts.state(uid, digest) not in (None, FOLDED))
    about = traits.of(unit, [uid]).get(uid) if stays else None
    return unit.rules.desired(about) if about else ()
