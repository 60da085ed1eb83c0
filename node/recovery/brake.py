"""The brake: mass repair and mass deletion stop, until a person has looked.

One rotten copy in ten thousand is bit rot. A fifth of all copies is a disk that fails, a folder that is not
mounted, or a wrong rule: to repair then would hide it, load the line and the other sites for hours, and
perhaps write good bytes onto a dying disk.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from node.audit.record import Event, deed_of
from node.catalog.brakes import BrakeState
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import BrakeTripped
from node.domain.finding import DAMAGE, Trouble
from node.domain.job import SECOND
from node.domain.principal import Action, Principal
from node.identity.gate import Gate

log = logging.getLogger(__name__)

REPAIR, DELETION = "repair", "deletion"
"""The brakes that there are."""
WINDOW = 24 * 3600 * SECOND
"""Microseconds over which damage and deletions are counted."""
_LOOKED_AT = (Trouble.MISSING, Trouble.TRUNCATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on a brake trips: both have to be exceeded."""

    share: float = 0.2
    """Of the copies that were looked at."""
    least: int = 20
    """Copies; fewer never trip it."""

    def exceeded(self, count: int, of: int) -> bool:
        """Whether so many of so many are too many."""
        return count > self.least and count > self.share * of


class Brake:
    """The brakes of a site."""

    def __init__(self, catalog: Catalog, limits: Limits | None = None) -> None:
        """Brakes that stand in this catalog."""
        self._catalog = catalog
        self._limits = limits or Limits()
        self._gate = Gate(catalog)

    def demand_repair(self) -> None:
        """Let a repair begin, or stop it: a brake that has tripped holds until a person releases it.

        Raises:
            BrakeTripped: too much was found damaged within a day.
        """
        with self._catalog.reading() as unit:
            state, (reason, count) = unit.brakes.find(REPAIR), self._damage(unit)
            is_allowed = count <= state.allowed and unit.now - state.since <= WINDOW
            is_held = bool(state.tripped_at) and _is_damaged(unit)
        if reason and not is_allowed:
            self._trip(state, reason)
            raise BrakeTripped("Repair is held up", reason)
        if is_held:
            raise BrakeTripped("Repair is held up", state.reason)
        if state.tripped_at:
            self._catalog.perform(lambda unit: unit.brakes.save(replace(state, tripped_at=0, reason="")))

    def demand_deletion(self, unit: Unit, many: int = 1) -> None:
        """Let copies be given up, within the unit that does so, or stop it.

        Raises:
            BrakeTripped: too many were given up within a day; `note` remembers that.
        """
        state = unit.brakes.find(DELETION)
        if state.tripped_at:
            raise BrakeTripped("Giving up copies is held up", state.reason)
        if unit.now - state.since > WINDOW:
            state = BrakeState(name=DELETION, since=unit.now)
        count = state.counted + many
        if count > max(state.allowed, self._limits.least):
            total = unit.proofs.coverage(0).objects
            if self._limits.exceeded(count, total):
                raise BrakeTripped("Giving up copies is held up", f"{count} of {total} copies within a day")
        unit.brakes.save(replace(state, counted=count))

    def release(self, principal: Principal, name: str, reason: str) -> BrakeState:
        """Let what was counted so far, and as much again, pass: a person has looked.

        Raises:
            Forbidden: the policy says no.
        """
        self._gate.demand(principal, Action.ADMINISTER)
        with self._catalog.begin() as unit:
            state = unit.brakes.find(name)
            count = self._damage(unit)[1] if name == REPAIR else state.counted
            allowed = max(2 * count, self._limits.least)
            since = unit.now if name == REPAIR else state.since or unit.now
            released = replace(state, tripped_at=0, reason="", allowed=allowed, since=since)
            unit.brakes.save(released)
            what = f"brake on {name} released for {allowed}: {reason}"
            unit.audit.append(deed_of(principal, Event.CONFIGURED, what=what))
        return released

    def standing(self) -> list[BrakeState]:
        """The brakes that have tripped."""
        with self._catalog.reading() as unit:
            states = [unit.brakes.find(name) for name in (REPAIR, DELETION)]
            is_damaged = _is_damaged(unit)
        return [state for state in states if state.tripped_at and (is_damaged or state.name != REPAIR)]

    def counted(self) -> dict[str, int]:
        """What each brake counts within a day, for who wants to see how near it is."""
        with self._catalog.reading() as unit:
            state = unit.brakes.find(DELETION)
            given_up = state.counted if unit.now - state.since <= WINDOW else 0
            return {REPAIR: self._damage(unit)[1], DELETION: given_up}

    def note(self, error: BrakeTripped) -> None:
        """Remember that giving up copies was stopped, in a unit of its own."""
        with self._catalog.reading() as unit:
            state = unit.brakes.find(DELETION)
        self._trip(state, str(error.args[1]))

    def _damage(self, unit: Unit) -> tuple[str, int]:
        """Why there is too much damage (empty where there is not), and how much there is.

        What is missing or too short is compared with all copies, as all are looked at daily; what is corrupt
        with those that were read.
        """
        since = unit.now - WINDOW
        site = unit.origin
        lost = unit.findings.found_since(since, _LOOKED_AT, site)
        rotten = unit.findings.found_since(since, (Trouble.CORRUPT,), site)
        count = lost + rotten
        if max(lost, rotten) <= self._limits.least:
            return "", count
        cover = unit.proofs.coverage(since)
        if self._limits.exceeded(lost, max(cover.objects, lost)):
            return f"{lost} of {cover.objects} copies are missing or too short", count
        read = max(cover.recent_objects, rotten)
        if self._limits.exceeded(rotten, read):
            return f"{rotten} of {read} copies that were read are corrupt", count
        return "", count

    def _trip(self, state: BrakeState, reason: str) -> None:
        if state.tripped_at and state.reason == reason:
            return
        log.error("a brake has tripped", extra={"brake": state.name, "reason": reason})

        def write(unit: Unit) -> None:
            known = unit.brakes.find(state.name)
            unit.brakes.save(replace(known, tripped_at=known.tripped_at or unit.now, reason=reason))

        self._catalog.perform(write)


def _is_damaged(unit: Unit) -> bool:
    """Whether there is damage that is still to be mended."""
    return not DAMAGE.isdisjoint(unit.findings.counts())
