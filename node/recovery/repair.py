"""Repair: what a check found is read again, and mended from a copy that was verified just now.

```
damage    read twice ──▶ brake ──▶ a member reads its copy back ──▶ damaged bytes set aside
          ──▶ fetched by digest, renamed over ──▶ read back ──▶ finding closed, audit, told to all    one unit
unlisted  the journal knows it: its rows are derived again; nobody knows it: it is admitted anew
stale     counted again          short of copies: the member is asked to look at its own
```

A copy is never taken from a site that has not read it back for this very repair.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from node.archive.derive import mended
from node.audit.record import Event, deed_of
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import BrakeTripped, NodeError, NoWholeCopy
from node.domain.finding import DAMAGE, Finding, FindingState, Trouble
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.principal import Principal
from node.domain.replica import CopyState, Urgency
from node.journal.entry import Fact
from node.recovery.brake import Brake
from node.recovery.damage import examine, found_whole, origin_of
from node.recovery.relist import Relist
from node.replication.peer import Peers

log = logging.getLogger(__name__)

PACK: Final = 32
"""Copies that are asked for together."""
Progress = Callable[[int, int], None]
"""Told how many of how many findings are dealt with."""


def untold(_done: int, _of: int) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Repaired:
    """What came of a repair."""

    repaired: list[Finding] = field(default_factory=list)
    settled: list[Finding] = field(default_factory=list)
    """In order when they were looked at again."""
    left: list[Finding] = field(default_factory=list)
    """Still wrong; the outcome says why."""
    relisted: bool = False
    """Whether rows were made again, so that sums have to be, too."""
    more: list[Finding] = field(default_factory=list)
    """Damage that showed when something else was looked at."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left."""
        return not self.left


class Repair:
    """Deals with findings."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        peers: Peers,
        brake: Brake,
        relist: Relist,
        *,
        patience: float | None = None,
    ) -> None:
        """A repair of one site.

        Args:
            catalog: where findings and rows are.
            blobs: what is repaired.
            peers: the sites that have other copies.
            brake: stops mass repair.
            relist: catalogues bytes that no row names.
            patience: seconds that a call of another site may take, where somebody waits.
        """
        self._patience = patience
        self._catalog = catalog
        self._blobs = blobs
        self._peers = peers
        self._brake = brake
        self._relist = relist

    def run(
        self, principal: Principal, findings: Sequence[Finding], *, progress: Progress = untold
    ) -> Repaired:
        """Deal with findings, each by itself: what cannot be mended now is left, with its reason.

        Raises:
            BrakeTripped: too much is damaged; a person has to look first.
        """
        outcome = Repaired()
        damaged = [finding for finding in findings if finding.kind in DAMAGE]
        if damaged:
            self._brake.demand_repair()
        done = 0
        for finding in findings:
            if finding.kind not in DAMAGE:
                self._other(principal, finding, outcome)
                progress(done := done + 1, len(findings))
        damaged += outcome.more
        for first in range(0, len(damaged), PACK):
            pack = damaged[first : first + PACK]
            self._pack(principal, pack, outcome)
            progress(done := done + len(pack), len(findings))
        if outcome.relisted:
            self._catalog.perform(lambda unit: unit.holdings.recount())
        return outcome

    def heal(self, principal: Principal, digest: Digest) -> bool:
        """Look at one copy and mend it, whatever the brake says; whether it is whole now, or not needed.

        Somebody waits for just this copy, and to mend one of them destroys nothing.
        """
        with self._catalog.reading() as unit:
            held = unit.holdings.find(digest)
            site = unit.origin
            is_over = unit.holdings.is_done_without(digest)
        if held is None:
            return is_over
        kind = examine(self._blobs, digest, held.size)
        if kind is None:
            return True
        found = Finding(
            kind=kind,
            digest=digest,
            site=site,
            instance=held.instance,
            size=held.size,
            evidence="found when it was read",
        )
        self._catalog.perform(lambda unit: unit.findings.report(found))
        outcome = Repaired()
        self._pack(principal, [found], outcome)
        return outcome.is_whole

    def _pack(self, principal: Principal, pack: Sequence[Finding], outcome: Repaired) -> None:
        """Mend some copies, from as few sites as have them."""
        left = {Digest.trusted(finding.digest): finding for finding in self._confirmed(pack, outcome)}
        tried: dict[Digest, list[str]] = defaultdict(list)
        for site, digests in self._holders(list(left)):
            wanted = [digest for digest in digests if digest in left]
            for digest in self._came(site, wanted, tried):
                outcome.relisted |= self._mended(principal, left[digest], digest, site)
                outcome.repaired.append(left.pop(digest))
        for digest, finding in left.items():
            self._lost(finding, digest, tried[digest])
            outcome.left.append(finding)

    def _came(
        self, site: SiteId, wanted: Sequence[Digest], tried: dict[Digest, list[str]]
    ) -> Iterator[Digest]:
        """What a site could give, as it comes; why it could not give the rest is noted."""
        came: set[Digest] = set()
        why = "its copy is not whole, or it does not give it"
        try:
            for digest in self._fetch(site, wanted) if wanted else ():
                came.add(digest)
                yield digest
        except NodeError as error:
            why = str(error)
            log.warning("a site could not help", extra={"peer": site, "error": why})
        for digest in wanted:
            if digest not in came:
                tried[digest].append(f"{site}: {why}")

    def _confirmed(self, pack: Sequence[Finding], outcome: Repaired) -> Iterator[Finding]:
        """The findings of a pack that are true when the bytes are read again, twice."""
        for finding in pack:
            digest = Digest.trusted(finding.digest)
            with self._catalog.reading() as unit:
                is_listed = unit.holdings.find(digest) is not None
                is_over = not is_listed and unit.holdings.is_done_without(digest)
            if is_over:
                self._settled(finding, "not needed here any more")
                outcome.settled.append(finding)
                continue
            try:
                kind = examine(self._blobs, digest, finding.size)
            except NodeError as error:
                self._note(finding, finding.state, str(error))
                outcome.left.append(finding)
                continue
            if kind is None and is_listed:
                self._settled(finding, "found in order when read again")
                outcome.settled.append(finding)
            else:
                yield finding

    def _holders(self, digests: Sequence[Digest]) -> list[tuple[SiteId, list[Digest]]]:
        """The active members that say that they have these bytes, and which, the most first."""
        held: dict[SiteId, list[Digest]] = defaultdict(list)
        with self._catalog.reading() as unit:
            active = {member.site for member in unit.members.active()}
            for digest in digests:
                for copy in unit.replicas.of_digest(digest):
                    if copy.site in active and copy.state is not CopyState.GONE:
                        held[copy.site].append(digest)
        return sorted(held.items(), key=lambda item: (-len(item[1]), item[0]))

    def _fetch(self, site: SiteId, digests: Sequence[Digest]) -> Iterator[Digest]:
        """Fetch from a site what it has just read back and found whole; each when it is whole here."""
        with self._peers(site, timeout=self._patience) as peer:
            proofs = peer.verify(digests)
            whole = [
                proof.digest
                for proof in proofs
                if proof.site == site and proof.state is CopyState.VERIFIED and proof.digest in digests
            ]
            grant = peer.prepare_to_get(whole) if whole else None
            granted = {digest for digest, _ in grant.items}.intersection(whole) if grant else set()
            for digest in granted:
                self._blobs.set_aside(digest)
            if grant is not None and granted:
                for digest in peer.fetch(grant, [one for one in whole if one in granted]):
                    if digest in granted and self._is_whole(digest):
                        yield digest

    def _is_whole(self, digest: Digest) -> bool:
        try:
            self._blobs.verify(digest)
        except NodeError as error:
            log.error("a copy is damaged again", extra={"digest": digest, "error": str(error)})
            return False
        return True

    def _mended(self, principal: Principal, finding: Finding, digest: Digest, site: SiteId) -> bool:
        """Write down that a copy is whole again, and tell the federation; whether it got its rows again."""

        def write(unit: Unit) -> None:
            for one in unit.findings.unsettled(kinds=DAMAGE, prefix=digest):
                unit.findings.settle(one, FindingState.REPAIRED, f"from the copy at {site}")
            unit.proofs.put(digest, finding.size or self._blobs.size(digest) or 0)
            unit.wants.drop(digest)
            unit.journal.append(Fact.COPIES, {"of": site, "verified": [digest], "gone": []})
            what = f"{finding.instance} {finding.kind}: {digest} repaired from the copy at {site}"
            unit.audit.append(deed_of(principal, Event.REPAIRED, what=what, study=_study(unit, finding)))
            if unit.holdings.find(digest) is not None and finding.instance:
                mended(unit, self._blobs, InstanceUID.trusted(finding.instance))

        self._catalog.perform(write)
        log.info("a copy was repaired", extra={"digest": digest, "kind": finding.kind, "peer": site})
        if not finding.instance or self._is_listed(digest):
            return False
        self._relist.again(principal, digest)
        return True

    def _is_listed(self, digest: Digest) -> bool:
        with self._catalog.reading() as unit:
            return unit.holdings.find(digest) is not None

    def _lost(self, finding: Finding, digest: Digest, tried: Sequence[str]) -> None:
        """Nobody has a whole copy now: tell the members, once, that they cannot count on this one."""
        why = "; ".join(tried) or "no member has proved a copy of it"

        def write(unit: Unit) -> None:
            known = unit.findings.find(finding)
            if known is None:
                return
            if known.state is FindingState.OPEN:
                says = {"of": origin_of(unit, finding), "verified": [], "gone": [digest]}
                unit.journal.append(Fact.COPIES, says)
            unit.findings.settle(finding, FindingState.LOST, why)

        self._catalog.perform(write)
        log.error("a copy cannot be repaired now", extra={"digest": digest, "why": why})

    def _other(self, principal: Principal, finding: Finding, outcome: Repaired) -> None:
        """Deal with what is wrong otherwise."""
        try:
            done = self._dealt_with(principal, finding, outcome)
        except BrakeTripped:
            raise
        except NodeError as error:
            done, why = False, str(error)
            self._note(finding, FindingState.OPEN, why)
        (outcome.repaired if done else outcome.left).append(finding)

    def _dealt_with(self, principal: Principal, finding: Finding, outcome: Repaired) -> bool:
        match finding.kind:
            case Trouble.UNLISTED:
                told = self._relist.again(principal, Digest.trusted(finding.digest))
                self._note(finding, FindingState.REPAIRED, told)
                outcome.relisted = True
                outcome.more += self._lost_behind(finding)
                return True
            case Trouble.STALE if not finding.digest:
                self._catalog.perform(lambda unit: unit.holdings.recount())
                self._note(finding, FindingState.REPAIRED, "counted again")
                return True
            case Trouble.STALE | Trouble.UNDER_REPLICATED:
                return self._is_here(finding) or self._ask(finding)
            case _:
                self._note(finding, FindingState.OPEN, "a person has to decide; see `konzilium conflicts`")
                return False

    def _lost_behind(self, finding: Finding) -> list[Finding]:
        """The copy that is missing where bytes without a row were damaged, and other sites have them."""
        digest = Digest.trusted(finding.digest)
        with self._catalog.reading() as unit:
            is_listed, copies = unit.holdings.find(digest) is not None, unit.replicas.of_digest(digest)
        if is_listed or not copies or self._blobs.size(digest) is not None:
            return []
        lost = replace(
            finding,
            kind=Trouble.MISSING,
            instance=copies[0].instance,
            size=copies[0].size,
            evidence="its bytes were damaged, and in no row of the catalog",
        )
        self._catalog.perform(lambda unit: unit.findings.report(lost))
        return [lost]

    def _is_here(self, finding: Finding) -> bool:
        """Whether a copy that this site lacked has come by now.

        Raises:
            NoWholeCopy: it has not; the courier fetches it, next.
        """
        digest = Digest.trusted(finding.digest)
        with self._catalog.reading() as unit:
            is_ours, held = finding.site == unit.origin, unit.holdings.find(digest)
        if not is_ours:
            return False
        if held is None or examine(self._blobs, digest, held.size) is not None:
            self._catalog.perform(lambda unit: unit.wants.urge(digest, Urgency.ON_DEMAND))
            raise NoWholeCopy(digest)
        self._settled(finding, "it has come")
        return True

    def _ask(self, finding: Finding) -> bool:
        """Ask a member to look at a copy that it owes; whether it has proved it by now."""
        digest = Digest.trusted(finding.digest)
        with self._peers(finding.site) as peer:
            if any(
                proof.digest == digest and proof.state is CopyState.VERIFIED
                for proof in peer.verify([digest])
            ):
                self._settled(finding, f"{finding.site} has proved it just now")
                return True
            asked = peer.repair([digest])
        told = "asked to repair it" if digest in asked else "it has not fetched it yet"
        self._note(finding, FindingState.OPEN, f"{finding.site}: {told}")
        return False

    def _settled(self, finding: Finding, how: str) -> None:
        def write(unit: Unit) -> None:
            known = unit.findings.find(finding)
            found_whole(unit, known or finding, how)

        self._catalog.perform(write)

    def _note(self, finding: Finding, state: FindingState, outcome: str) -> None:
        self._catalog.perform(lambda unit: unit.findings.settle(finding, state, outcome))


def _study(unit: Unit, finding: Finding) -> str:
    """The study that an instance belongs to, for the audit record."""
    archived = unit.instances.find(InstanceUID.trusted(finding.instance)) if finding.instance else None
    return archived.study if archived else ""
