"""Which role each site has, in the rows of the catalog; and what this site says of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from node.audit.record import Deed, Event
from node.catalog.unit import Unit
from node.domain.ids import SiteId
from node.domain.job import HOUR, Task
from node.domain.principal import Principal
from node.domain.role import Role, SiteRole
from node.journal.entry import Fact
from node.journal.roles import roles, said

log = logging.getLogger(__name__)


def derive_roles(unit: Unit) -> None:
    """Let the facts about roles take effect; who owes copies follows."""
    before = {one.site: one for one in unit.roles.all()}
    found = roles(unit.journal.of_kind(Fact.ROLE))
    for site in before.keys() - found.keys():
        unit.roles.drop(site)
    for site, now in found.items():
        if before.get(site) != now:
            unit.roles.put(now)
    if _keeping_none(before) != _keeping_none(found):
        unit.rules.changed()
    if unit.roles.here().role is Role.COMMUNICATION and unit.origin not in _keeping_none(before):
        unit.jobs.add(Task.GIVE_UP, f"hour {unit.now // HOUR}")


def hear_roles(unit: Unit) -> None:
    """The same for a fact of another site: this one may learn that it is no archive any more.

    It takes nothing from devices and persons from then on. That is recorded, and what is left to do then is
    owed (see `node.recovery.roles.on_demoted`).
    """
    before = unit.roles.here()  # nothing is known of it where the rows are just made again
    derive_roles(unit)
    now = unit.roles.here()
    is_new = before.term > 0 and before.role.takes and not now.role.takes
    if not is_new:
        return
    log.warning("another site has taken the place of this one", extra={"peer": now.by, "term": now.term})
    what = f"{unit.origin} is {now.role} from now on"
    what += f": {now.by} has taken its place: {now.reason}" if now.was_replaced else ": another was promoted"
    unit.audit.append(Deed(event=Event.CONFIGURED, who=f"node:{now.by}", what=what))
    unit.jobs.add(Task.STEP_DOWN, f"term {max(before.term, now.term)}")


def _keeping_none(found: Mapping[SiteId, SiteRole]) -> set[SiteId]:
    """The sites that are no place for copies."""
    return {site for site, one in found.items() if one.role is Role.COMMUNICATION}


def state_role(
    unit: Unit,
    principal: Principal,
    role: Role,
    *,
    successors: Sequence[SiteId],
    reason: str,
    in_place_of: SiteRole | None = None,
) -> None:
    """Write down which role this site has from now on, or whose place it takes, and who decided it.

    Args:
        unit: the unit of work.
        principal: who decided it.
        role: of this site; where it takes a place, of the one whose place that was.
        successors: of this site.
        reason: why.
        in_place_of: the site whose place it takes, as it is known here.
    """
    says = said(unit.roles.here(), role, successors=successors, in_place_of=in_place_of)
    unit.journal.append(Fact.ROLE, {**says, "reason": reason, "by": str(principal)})
    deed = f"takes the place of {in_place_of.site}" if in_place_of else f"is {role}"
    what = f"{unit.origin} {deed}, successors {', '.join(successors) or 'none'}: {reason}"
    unit.audit.append(Deed(event=Event.CONFIGURED, who=str(principal), address=principal.address, what=what))
    derive_roles(unit)
