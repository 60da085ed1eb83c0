"""The ReplicaCatalog service: where copies are, and what a site tells its members of its journal.

Names and verbs follow the replica location service of the grids: a *logical name* is a DICOM object (its SOP
Instance UID), a *target* is one site's copy of it (Chervenak et al., "Giggle: a framework for constructing
scalable replica location services", SC 2002).
"""

from __future__ import annotations

from typing import Annotated

from node.domain.errors import Damaged, Forbidden, Rejected, UnknownInstance
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import Replica
from node.replication.mappings import Mappings
from node.replication.peer import LONGEST_PAGE
from node.replication.service import Service as Doors
from services.soap.caller import guest
from services.soap.compared import AskedRange, ComparedRange, read_ranges, written_compared
from services.soap.framework.contract import contract_of
from services.soap.framework.model import Count, Many, UidText
from services.soap.framework.rows import write_rows
from services.soap.framework.service import Call, Service, operation
from services.soap.records import (
    Digests,
    InstanceDescription,
    JournalChanges,
    Mapping,
    SiteText,
    Span,
    Ticket,
    Uids,
    cursor_of,
    mapping_of,
    moment,
    read_changes,
    replica_of,
    ticket_of,
    written_changes,
    written_description,
)

MappingList = Annotated[tuple[Mapping, ...], Many(up_to=LONGEST_PAGE, at_least=1)]
COLUMNS = ("instance", "digest", "site", "state", "size", "at")


class ReplicaCatalog(Service):
    """Where copies of instances are, with what is known of each.

    A member sees the instances that the terms of this site give it, and can speak for its own copies only.
    """

    name, path, version = "ReplicaCatalog", "catalog", 1

    def __init__(self, doors: Doors, mappings: Mappings) -> None:
        """A service of this site.

        Args:
            doors: what members may ask of the journal and the bytes.
            mappings: what members may ask and tell of copies.
        """
        self._doors = doors
        self._mappings = mappings

    @operation(result="count", faults=(Rejected, Forbidden))
    def create_mappings(self, call: Call, mapping: MappingList) -> Count:
        """Tell of the first copies of instances that are not in this catalog yet.

        Args:
            mapping: copies at the calling site.

        Returns:
            How many were added.
        """
        return self._mappings.create(guest(call).member, [replica_of(one) for one in mapping])

    @operation(result="count", faults=(UnknownInstance, Forbidden))
    def add_mappings(self, call: Call, mapping: MappingList) -> Count:
        """Tell of further copies of instances that are in this catalog.

        Args:
            mapping: copies at the calling site.

        Returns:
            How many were added or told anew.
        """
        return self._mappings.add(guest(call).member, [replica_of(one) for one in mapping])

    @operation(result="count", faults=(Forbidden,))
    def delete_mappings(self, call: Call, mapping: MappingList) -> Count:
        """Tell that copies are no more; ones that are not known are no error.

        Args:
            mapping: copies at the calling site.

        Returns:
            How many were known.
        """
        return self._mappings.delete(guest(call).member, [replica_of(one) for one in mapping])

    @operation(result="mapping", faults=(UnknownInstance,))
    def query_mappings(self, call: Call, instance: UidText) -> Annotated[tuple[Mapping, ...], Many()]:
        """Say where copies of an instance are.

        Args:
            instance: the logical name.

        Returns:
            Every copy that is known here, the one at this site included.
        """
        found = self._mappings.query(guest(call).member, [InstanceUID(instance)])
        if not found:
            raise UnknownInstance(instance)
        return tuple(mapping_of(one) for one in found)

    @operation(result="mapping", raw=True)
    def bulk_query_mappings(
        self, call: Call, instance: Uids
    ) -> Annotated[tuple[Mapping, ...], Many(up_to=64 * LONGEST_PAGE)]:
        """Say where copies of many instances are; those that are not known are left out.

        Args:
            instance: the logical names.

        Returns:
            Every copy that is known here.
        """
        uids = [InstanceUID.trusted(element.text or "") for element in call.body]
        found = self._mappings.query(guest(call).member, uids)
        declared = contract_of(ReplicaCatalog).operations[call.body.tag]
        return write_rows(declared, COLUMNS, map(_row, found))  # type: ignore[return-value]

    @operation(result="instance")
    def mappings_exist(self, call: Call, instance: Uids) -> Uids:
        """Say of which instances there are copies.

        Args:
            instance: the logical names.

        Returns:
            Those that are known here.
        """
        found = self._mappings.query(guest(call).member, [InstanceUID.trusted(uid) for uid in instance])
        return tuple(sorted({one.instance for one in found}))

    @operation(result="changes", faults=(Forbidden,))
    def changes(
        self, call: Call, origin: SiteText, epoch: Count, after: Count, many: Count = LONGEST_PAGE
    ) -> JournalChanges:
        """Tell the journal of this site after a cursor, or that of the caller, as it was read here.

        Args:
            origin: this site, or the calling one.
            epoch: which of its epochs.
            after: the number of the last entry that the caller has.
            many: at the most so many entries.

        Returns:
            Entries in order and without gaps; those that the terms withhold as stubs.
        """
        return written_changes(self._doors.changes(guest(call).member, cursor_of(origin, epoch, after), many))

    @operation(result="changes", faults=(Forbidden,))
    def changes_again(
        self,
        call: Call,
        origin: SiteText,
        epoch: Count,
        span: Annotated[tuple[Span, ...], Many(up_to=LONGEST_PAGE)],
        many: Count = LONGEST_PAGE,
    ) -> JournalChanges:
        """Tell entries again that were withheld before.

        Args:
            origin: this site.
            epoch: which of its epochs.
            span: which entries.
            many: at the most so many entries.

        Returns:
            The entries as the terms of now let the caller have them.
        """
        gaps = [(one.first, one.last) for one in span]
        told = self._doors.again(guest(call).member, SiteId.trusted(origin), epoch, gaps, many)
        return written_changes(told)

    @operation(result="reached", faults=(Forbidden, Damaged))
    def offer_changes(self, call: Call, changes: JournalChanges) -> Count:
        """Take entries of the caller's journal, or of this site's own, from a site that cannot be called.

        Args:
            changes: entries from where this site's cursor stands.

        Returns:
            The number up to which its journal is here.
        """
        return self._doors.offer(guest(call).member, read_changes(changes))

    @operation(result="ticket")
    def wanted(self, call: Call, many: Count = LONGEST_PAGE) -> Ticket:
        """Say what this site wants of the caller, with a ticket to put it here.

        Args:
            many: at the most so many objects.

        Returns:
            A ticket for `PUT /transfer/pack`.
        """
        return ticket_of(self._doors.wanted(guest(call).member, many))

    @operation(result="digest", faults=(Damaged,))
    def arrived(self, call: Call, digest: Digests) -> Digests:
        """Catalogue what the caller has put here with a ticket of `wanted`.

        Args:
            digest: what it has put.

        Returns:
            What is durable and in the catalog here now.
        """
        return tuple(self._doors.put_here(guest(call).member, [Digest.trusted(one) for one in digest]))

    @operation(result="description")
    def describe(
        self, call: Call, digest: Digests
    ) -> Annotated[tuple[InstanceDescription, ...], Many(up_to=LONGEST_PAGE)]:
        """Say what is catalogued of instances, so that the caller can find them before it has their bytes.

        Args:
            digest: which bytes.

        Returns:
            The attributes of those that this site knows and gives the caller.
        """
        found = self._doors.describe(guest(call).member, [Digest.trusted(one) for one in digest])
        return tuple(written_description(one) for one in found)

    @operation(result="range")
    def compare(
        self, call: Call, range: Annotated[tuple[AskedRange, ...], Many(up_to=LONGEST_PAGE)]
    ) -> Annotated[tuple[ComparedRange, ...], Many(up_to=LONGEST_PAGE)]:
        """Compare what this site and the caller hold or owe each other.

        Args:
            range: parts of it, with their fingerprints or digests at the caller.

        Returns:
            For each whether it is the same, or where it differs.
        """
        return written_compared(self._doors.compare(guest(call).member, read_ranges(range)))


def _row(one: Replica) -> tuple[str, ...]:
    at = moment(one.at).isoformat().replace("+00:00", "Z")
    return one.instance, one.digest, one.site, one.state, str(one.size), at
