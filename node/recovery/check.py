"""The check: catalog against disk, and against what the facts and the rules say.

```
each of 256 folders        catalog ──▶ files ──▶ catalog again    what is in both and not as it ought to be
with --verify              each file read back; what is wrong is read a second time
in the end                 files that no row named are looked at once more, when writers have had their time
```

What arrives or goes meanwhile is in one of the two looks at the catalog only, so it raises no alarm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from node.archive.derive import state_of
from node.blobs.store import PREFIXES, BlobStore, Pace, at_once
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.holdings import Held
from node.catalog.unit import Unit
from node.domain.finding import DAMAGE, Finding, Trouble
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.job import SECOND
from node.domain.replica import CopyState, Replica
from node.journal.entry import Fact
from node.recovery.damage import examine, found_whole, glance

WRITERS: Final = 5.0
"""Seconds after which bytes that were put have their row, or their writer has failed."""
OVERDUE: Final = 3600 * SECOND
"""Microseconds after which a copy that another site owes is called missing there."""
MOST: Final = 10_000
"""Copies owed by other sites that are named one by one."""
LOOK, READ = "look", "read"
"""Rounds: existence and size; and every byte."""

Progress = Callable[[int, int, int], None]
"""Told: folders done, objects looked at, findings."""
_READ = (None, Trouble.CORRUPT)
"""What a copy that was read back may be found to be."""


def untold(_folders: int, _objects: int, _found: int) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Checked:
    """What a check looked at, and what it found."""

    objects: int = 0
    bytes: int = 0
    read: int = 0
    """Objects that were read back."""
    findings: list[Finding] = field(default_factory=list)
    closed: int = 0
    """Findings of before that are in order now."""
    before: frozenset[Trouble] = frozenset()
    """Kinds of findings that were to be dealt with when it began."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


class Check:
    """Compares what there is with what there ought to be, and opens a finding for each difference."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        *,
        pace: Pace = at_once,
        wait: Callable[[float], object] = time.sleep,
        overdue: int = OVERDUE,
    ) -> None:
        """A check of one site.

        Args:
            catalog: what there ought to be.
            blobs: what there is.
            pace: slows reading down.
            wait: sleeps for seconds.
            overdue: microseconds after which copies owed by others are called missing.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._pace = pace
        self._wait = wait
        self._overdue = overdue

    def run(
        self,
        *,
        verify: bool = False,
        progress: Progress = untold,
        stop: Callable[[], bool] = lambda: False,
    ) -> Checked:
        """Look at everything.

        Args:
            verify: read every byte back, too.
            progress: told after each folder.
            stop: whether to leave off; findings so far stand.

        Raises:
            StoreFailing, CatalogBusy: it could not be looked at; what was found until then stands.
        """
        with self._catalog.reading() as unit:
            checked, strays = Checked(before=frozenset(unit.findings.counts())), dict[Digest, int]()
        for number, prefix in enumerate(PREFIXES, start=1):
            if stop():
                return checked
            self._folder(prefix, checked, strays, verify=verify)
            progress(number, checked.objects, len(checked.findings))
        self._unlisted(checked, strays)
        self._report(checked, self._elsewhere(), scope=(Trouble.UNDER_REPLICATED,))
        self._report(checked, self._conflicts(), scope=(Trouble.CONFLICTING,))
        self._report(checked, self._counts(), scope=(Trouble.STALE,))
        return checked

    def _folder(self, prefix: str, checked: Checked, strays: dict[Digest, int], *, verify: bool) -> None:
        """Compare one folder of the store with the rows of its digests."""
        with self._catalog.reading() as unit:
            before = unit.holdings.beginning(prefix)
        files = self._blobs.listing(prefix)
        with self._catalog.reading() as unit:
            after = unit.holdings.beginning(prefix)
            coming = unit.holdings.on_the_way(prefix)
        listed = {digest: held for digest, held in before.items() if digest in after}
        wrong = dict(self._wrong(listed, files, checked, verify=verify))
        strays |= {
            digest: size
            for digest, size in files.items()
            if digest not in before and digest not in after and digest not in coming
        }
        found = [_damage(listed[digest], kind, unit.origin) for digest, kind in wrong.items()]
        kinds = tuple(DAMAGE) if verify else (Trouble.MISSING, Trouble.TRUNCATED)
        self._report(checked, found, scope=kinds, prefix=prefix)
        read = [held for digest, held in listed.items() if wrong.get(digest) in _READ]
        self._prove(read, prefix, verify=verify)

    def _prove(self, held: list[Held], prefix: str, *, verify: bool) -> None:
        """Note what was read, damaged or not; or know, at least, what is here and was right when written."""
        with self._catalog.reading() as unit:
            known = unit.proofs.known(prefix)
            gone = [
                digest
                for digest in known - {one.digest for one in held}
                if unit.holdings.find(Digest.trusted(digest)) is None
            ]
        new = [one for one in held if verify or one.digest not in known]

        def write(unit: Unit) -> None:
            for digest in gone:
                unit.proofs.forget(digest)
            for one in new if verify else ():
                unit.proofs.put(one.digest, one.size)
            unit.proofs.arrived((one.digest, one.size, one.at) for one in new)

        if new or gone:
            self._catalog.perform(write)

    def _wrong(
        self, listed: Mapping[Digest, Held], files: Mapping[Digest, int], checked: Checked, *, verify: bool
    ) -> Iterator[tuple[Digest, Trouble]]:
        """Digests of one folder whose bytes are not as they ought to be, and what is wrong."""
        for digest, held in listed.items():
            checked.objects += 1
            checked.bytes += held.size
            if verify:
                checked.read += 1
                kind = examine(self._blobs, digest, held.size, pace=self._pace)
            elif files.get(digest) == held.size:
                continue
            else:
                kind = glance(self._blobs, digest, held.size)
            if kind is not None:
                yield digest, kind

    def _unlisted(self, checked: Checked, strays: Mapping[Digest, int]) -> None:
        """Call bytes unlisted that still have no row when writers have had their time."""
        if strays:
            self._wait(WRITERS)
        found = []
        with self._catalog.reading() as unit:
            for digest, size in strays.items():
                is_coming = bool(unit.holdings.on_the_way(digest))
                if (
                    not is_coming
                    and unit.holdings.find(digest) is None
                    and self._blobs.size(digest) is not None
                ):
                    found.append(_unlisted(digest, size, unit.origin))
            found += [
                Finding(
                    kind=Trouble.MISSING,
                    digest=digest,
                    site=unit.origin,
                    instance=uid,
                    size=size,
                    evidence="the journal tells of it; neither a row nor bytes are here",
                )
                for uid, digest, size in unit.holdings.untold()
                if self._blobs.size(digest) is None
                and not unit.holdings.on_the_way(digest)
                and _is_owed_here(unit, uid, digest)
            ]
        self._report(checked, found, scope=(Trouble.UNLISTED,))

    def _elsewhere(self) -> list[Finding]:
        """Copies that other sites ought to hold, and do not."""
        with self._catalog.reading() as unit:
            short = unit.replicas.short(unit.now - self._overdue, MOST)
            return [_short(copy, unit.now) for copy in short if _is_wanted(unit, copy)]

    def _conflicts(self) -> list[Finding]:
        """Instances of which different bytes are kept."""
        with self._catalog.reading() as unit:
            return [
                Finding(
                    kind=Trouble.CONFLICTING,
                    digest=one.other,
                    site=unit.origin,
                    instance=one.instance,
                    size=one.size,
                    evidence=f"beside {one.kept[:16]}; {one.state}",
                )
                for one in unit.conflicts.unsettled()
            ]

    def _counts(self) -> list[Finding]:
        """Studies whose counts are not those of their rows."""
        with self._catalog.reading() as unit:
            return [
                Finding(
                    kind=Trouble.STALE,
                    digest="",
                    site=unit.origin,
                    instance=uid,
                    evidence="its counts are not those of its instances",
                )
                for _, uid in unit.holdings.miscounted()
            ]

    def _report(
        self,
        checked: Checked,
        found: list[Finding],
        *,
        scope: tuple[Trouble, ...],
        prefix: str = "",
    ) -> None:
        """Open these findings, and settle those of the same scope that are in order now."""
        checked.findings += found
        keys = {finding.key for finding in found}

        def write(unit: Unit) -> int:
            for finding in found:
                unit.findings.report(finding)
            gone = [
                one
                for one in unit.findings.unsettled(kinds=scope, prefix=prefix)
                if one.key not in keys and _is_settled(unit, one)
            ]
            for one in gone:
                found_whole(unit, one, "found in order when looked at again")
            return len(gone)

        if found or not checked.before.isdisjoint(scope):
            checked.closed += self._catalog.perform(write)


def _is_settled(unit: Unit, finding: Finding) -> bool:
    """Whether a finding that was not made again is over.

    What another site lacks although it is counted on there, only that site can say; what has no row here is
    looked for apart.
    """
    if finding.site != unit.origin:
        return finding.kind is not Trouble.STALE
    if finding.kind in DAMAGE or finding.kind is Trouble.UNDER_REPLICATED:
        digest = Digest.trusted(finding.digest)
        return unit.holdings.find(digest) is not None or unit.holdings.is_done_without(digest)
    return True


def _damage(held: Held, kind: Trouble, site: SiteId) -> Finding:
    return Finding(
        kind=kind,
        digest=held.digest,
        site=site,
        instance=held.instance,
        size=held.size,
        evidence="read twice" if kind is Trouble.CORRUPT else "looked at twice",
    )


def _unlisted(digest: Digest, size: int, site: SiteId) -> Finding:
    evidence = "in the store, and in no row of the catalog"
    return Finding(kind=Trouble.UNLISTED, digest=digest, site=site, size=size, evidence=evidence)


def _short(copy: Replica, now: int) -> Finding:
    hours = (now - copy.at) // (3600 * SECOND)
    told = "it says that its copy is gone" if copy.state is CopyState.GONE else f"owed for {hours} hours"
    return Finding(
        kind=Trouble.UNDER_REPLICATED,
        digest=copy.digest,
        site=copy.site,
        instance=copy.instance,
        size=copy.size,
        evidence=told,
    )


def _is_wanted(unit: Unit, copy: Replica) -> bool:
    """Whether the rules of today want that copy there, of something that this site received."""
    if copy.state is CopyState.OWED:
        return True
    shown = unit.forms.shown(copy.instance)
    about = traits.of(unit, [copy.instance]).get(copy.instance)
    is_shown = shown is not None and shown[0] == copy.digest and about is not None
    if not is_shown or copy.site not in unit.rules.desired(about):  # type: ignore[arg-type]
        return False
    return any(
        fact.kind is Fact.INSTANCE and fact.origin == unit.origin and fact.says["digest"] == copy.digest
        for fact in unit.journal.about(copy.instance)
    )


def _is_owed_here(unit: Unit, uid: InstanceUID, digest: Digest) -> bool:
    """Whether an instance that no row knows ought to be here: it stays, and nobody withdrew it."""
    state = state_of(unit, uid)
    return not state.withdrawn and digest not in state.folded
