"""Objects that people and devices of another site put here, outside of replication.

They arrive in a store of their own, and go through the door of the archive from there; what nobody finishes
goes when its ticket has expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from node.archive.part10 import StoredFile, offer_of
from node.archive.reading import read_back
from node.blobs.store import BlobStore
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.tickets import Ticket
from node.catalog.unit import Unit
from node.domain.errors import BlobMissing, Damaged, Forbidden, MalformedInstance
from node.domain.ids import Digest, SiteId
from node.domain.instance import Admission, Chunk, Offer
from node.domain.member import Member
from node.domain.principal import Action, Principal
from node.identity.gate import Gate
from node.replication.peer import LONGEST_PAGE, TicketGrant
from node.replication.service import UPLOAD, Service


class Admits(Protocol):
    """The door of the archive that objects go through."""

    def admit(self, principal: Principal, offer: Offer, chunks: Iterable[Chunk]) -> Admission:
        """Keep an instance."""
        ...


class Drops(Protocol):
    """The door that gives up copies."""

    def drop(self, principal: Principal, digest: Digest) -> SiteId:
        """Give up this site's copy; which other site has just proved its own."""
        ...


class Storing:
    """Takes objects that another site puts here, and gives up copies."""

    def __init__(
        self, catalog: Catalog, uploads: BlobStore, archive: Admits, service: Service, dropping: Drops
    ) -> None:
        """The doors of one site.

        Args:
            catalog: what is here.
            uploads: where they arrive, apart from what is archived.
            archive: what they go into.
            service: makes out the tickets.
            dropping: gives up copies.
        """
        self._catalog = catalog
        self._uploads = uploads
        self._archive = archive
        self._service = service
        self._dropping = dropping
        self._gate = Gate(catalog)

    def prepare(
        self, member: Member, principal: Principal, items: Sequence[tuple[Digest, int]]
    ) -> TicketGrant:
        """A ticket to put these bytes.

        Raises:
            Forbidden: the policy or the terms say no.
            ReadOnly: this site is a backup.
        """
        self._gate.demand_writing(principal, Action.STORE)
        return self._service.grant(member, UPLOAD, items[:LONGEST_PAGE], principal)

    def done(
        self, member: Member, principal: Principal, ticket: str, digests: Sequence[Digest]
    ) -> list[Admission]:
        """Archive what came with a ticket.

        Raises:
            UnknownTicket, Forbidden: the ticket is not for these.
            ReadOnly: this site is a backup.
            MalformedInstance, Unidentified: one of the objects cannot be archived.
        """
        covered = self._service.covered(ticket, member.site)
        if not covered.issuperset(digests):
            raise Forbidden(member.site, "put these objects", "its ticket is for others")
        came = [one for one in digests or sorted(covered) if self._uploads.size(one) is not None]
        return [self._archived(member, principal, digest) for digest in came]

    def put(self, member: Member, principal: Principal, chunks: Iterable[Chunk]) -> Admission:
        """Archive one DICOM Part 10 file.

        Raises:
            Forbidden: the policy or the terms say no.
            ReadOnly: this site is a backup.
            MalformedInstance, Unidentified: it cannot be archived.
        """
        self._gate.demand_writing(principal, Action.STORE)
        return self._archived(member, principal, self._uploads.put(chunks))

    def remove(self, principal: Principal, digest: Digest) -> None:
        """Give up this site's copy of some bytes.

        Raises:
            Forbidden: the policy says no.
        """
        self._dropping.drop(principal, digest)

    def _archived(self, member: Member, principal: Principal, digest: Digest) -> Admission:
        """Admit an uploaded file under its own name; the upload goes where that name is another."""
        try:
            self._demand_accepted(member, principal, digest)
            with self._uploads.open(digest) as file:
                offer, stored = offer_of(file), StoredFile.of(file)
                admission = self._archive.admit(principal, offer, stored.data_set())
        except (Damaged, BlobMissing) as error:
            raise MalformedInstance(f"it is no DICOM Part 10 file ({error})") from error
        finally:
            self._uploads.remove(digest)
        return admission

    def _demand_accepted(self, member: Member, principal: Principal, digest: Digest) -> None:
        with self._catalog.reading() as unit:
            identified = read_back(self._uploads, digest)
            arrival = identified.arrival(digest=digest, size=0, source=principal.source, at=unit.now)
            if not member.accept.allow(traits.of_arrival(arrival), now=unit.now):
                raise Forbidden(
                    principal, Action.STORE, f"this site takes {member.accept} from {member.site}"
                )


def sweep(catalog: Catalog, uploads: BlobStore) -> int:
    """Forget tickets that have expired, with uploads that nobody finished; how many tickets."""
    with catalog.reading() as unit:
        expired = unit.tickets.expired()
    for ticket in expired:
        for digest in ticket.digests if ticket.verb == UPLOAD else ():
            uploads.remove(digest)
        catalog.perform(partial(_forget, ticket=ticket))
    return len(expired)


def _forget(unit: Unit, *, ticket: Ticket) -> None:
    unit.tickets.drop(ticket.id)
