"""What a partner has of this archive, and what of a partner is here: for a person who has to rely on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.catalog.catalog import Catalog
from node.catalog.moving import CUT, Moved
from node.catalog.partner_copies import Sum
from node.domain.partner import CopyThere, Difference, Partner, PartnerCopy, Unlike


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """The copies at a partner, as far as is known."""

    partner: str
    ought: int
    """Instances of which a copy ought to be there."""
    bytes: int
    committed: int
    """The partner has taken the responsibility for them; only these count as proved."""
    found: int
    """The partner lists them; that proves nothing of their bytes."""
    sent: int
    """The partner took them, and does not list them yet."""
    missing: int
    """They are to be sent."""
    refused: int
    withdrawn: int
    """They were withdrawn here, and are still there."""
    looked_at: int
    """When everything was compared last, in microseconds since 1970; 0 for never."""
    failed_at: int
    error: str
    problems: Sequence[PartnerCopy] = ()
    """What was refused or is missing, with the reason."""
    left_behind: Sequence[PartnerCopy] = ()
    """What was withdrawn here and is still there."""

    @property
    def is_whole(self) -> bool:
        """Whether all that ought to be there was found there, nothing else, and not long before a failure."""
        differs = self.missing or self.refused or self.sent or self.withdrawn
        return not differs and self.looked_at > 0 and not self.error


def of_backup(catalog: Catalog, partner: Partner) -> BackupReport:
    """The report of a partner that is a backup."""
    name = partner.ae_title
    with catalog.reading() as unit:
        known = unit.partners.find(name) or partner
        counts = unit.partner_copies.counts(name)
        left = unit.partner_copies.left_behind(name)
        problems = [
            copy
            for state in (CopyThere.REFUSED, CopyThere.OWED)
            for copy in unit.partner_copies.in_state(name, state)
        ]
    many = {state: counts.get(state, Sum()).copies for state in CopyThere}
    return BackupReport(
        partner=name,
        ought=sum(many.values()),
        bytes=sum(one.bytes for one in counts.values()),
        committed=many[CopyThere.COMMITTED],
        found=many[CopyThere.FOUND],
        sent=many[CopyThere.SENT],
        missing=many[CopyThere.OWED],
        refused=many[CopyThere.REFUSED],
        withdrawn=len(left),
        looked_at=known.looked_at,
        failed_at=known.failed_at,
        error=known.error,
        problems=problems,
        left_behind=left,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What of a partner is here, as far as it was compared."""

    partner: str
    moved: Moved
    migrated_at: int
    """When everything was here, or told as a difference, last; 0 while it never was."""
    differences: Sequence[Difference] = ()
    cut: Sequence[str] = ()
    """Windows of which the partner did not tell all studies, however small they were made."""
    waiting: int = 0
    """Studies that are still to be brought or compared."""

    def of(self, kind: Unlike) -> list[Difference]:
        """The differences of a kind."""
        return [one for one in self.differences if one.kind is kind]

    @property
    def is_whole(self) -> bool:
        """Whether everything that is there is here, as far as plain DICOM can tell."""
        missing = self.of(Unlike.MISSING) or self.cut or self.waiting or self.moved.studies_differ
        return not missing and self.migrated_at > 0


def of_migration(catalog: Catalog, partner: Partner) -> MigrationReport:
    """The report of a partner that is a source."""
    name = partner.ae_title
    with catalog.reading() as unit:
        known = unit.partners.find(name) or partner
        moved = unit.moving.sum(name)
        return MigrationReport(
            partner=name,
            moved=moved,
            migrated_at=known.migrated_at,
            differences=tuple(unit.moving.differences(name)),
            cut=tuple(unit.moving.windows(name, CUT)),
            waiting=moved.studies - moved.studies_here - moved.studies_differ,
        )
