"""A communication site gives up what it has passed on: its own copies count nowhere.

```
arrived some days ago ──▶ every copy that the rules want is verified ──▶ another site proves its own ──▶ gone
```

What it has given up stays in its catalog: who asks for it gets it from a site that has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from node.catalog import passing, traits
from node.catalog.catalog import Catalog
from node.catalog.passing import Kept
from node.catalog.unit import Unit
from node.domain.errors import BrakeTripped, LastCopy, NodeError
from node.domain.ids import Digest, SiteId
from node.domain.job import HOUR, Task
from node.domain.principal import Action, Kind, Principal
from node.domain.replica import CopyState
from node.domain.role import Role
from node.domain.rule import DAY

log = logging.getLogger(__name__)

_BATCH = 200


class Drops(Protocol):
    """The door that gives up copies."""

    def drop(self, principal: Principal, digest: Digest) -> SiteId:
        """Give up this site's copy; which other site has just proved its own."""
        ...


class PassingOn:
    """Gives up copies of a communication site."""

    def __init__(self, catalog: Catalog, dropping: Drops, *, cache_days: float) -> None:
        """The copies of one site.

        Args:
            catalog: what is here, and what is known of other copies.
            dropping: gives up copies, never the last one.
            cache_days: days for which they are kept here all the same.
        """
        self._catalog = catalog
        self._dropping = dropping
        self._cache_days = cache_days

    def round(self, *, stop: Callable[[], bool] = lambda: False) -> int:
        """Look at everything that is here, and owe the next look; how many copies were given up."""
        with self._catalog.reading() as unit:
            if unit.roles.here().role is not Role.COMMUNICATION:
                return 0
        given_up, behind = 0, 0
        while not stop():
            with self._catalog.reading() as unit:
                until = unit.now - int(self._cache_days * DAY)
                page = passing.page(unit, behind=behind, until=until, many=_BATCH)
                passed = [one.digest for one in page if _is_passed_on(unit, one)]
                origin = unit.origin
            if not page:
                break
            given_up += self._give_up(origin, passed)
            behind = page[-1].row
        self._catalog.perform(_again)
        return given_up

    def _give_up(self, origin: SiteId, digests: Sequence[Digest]) -> int:
        """Give up these copies, as far as another site proves its own now; how many those were."""
        node = Principal(kind=Kind.NODE, name=origin, site=origin, may=frozenset({Action.ADMINISTER}))
        done = 0
        for digest in digests:
            try:
                self._dropping.drop(node, digest)
                done += 1
            except BrakeTripped:
                raise
            except LastCopy:
                continue
            except NodeError as error:
                log.warning("a copy was kept", extra={"digest": digest, "why": str(error)})
        return done


def _is_passed_on(unit: Unit, one: Kept) -> bool:
    """Whether all copies that count are verified; of what others received, whether anybody has one."""
    verified = {copy.site for copy in unit.replicas.of_digest(one.digest) if copy.state is CopyState.VERIFIED}
    if one.origin != unit.origin:
        return bool(verified)
    about = traits.of(unit, [one.uid]).get(one.uid)
    wanted = set(unit.rules.desired(about)) if about else set()
    return bool(wanted) and wanted <= verified


def _again(unit: Unit) -> None:
    hour = unit.now // HOUR + 1
    unit.jobs.add(Task.GIVE_UP, f"hour {hour}", after=hour * HOUR - unit.now)
