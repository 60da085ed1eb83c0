"""Reading through damage: a copy that is found damaged when it is read is mended before anybody notices."""

from __future__ import annotations

import logging

from node.archive.archive import Archive
from node.archive.part10 import StoredFile
from node.catalog.catalog import Catalog
from node.domain.errors import Damaged
from node.domain.instance import Instance
from node.domain.job import Task
from node.domain.principal import Principal
from node.domain.query import Selection
from node.recovery.repair import Repair

log = logging.getLogger(__name__)


class Healing:
    """The archive as readers see it: what is damaged comes from another site, within the same request."""

    def __init__(self, archive: Archive, catalog: Catalog, repair: Repair, node: Principal) -> None:
        """Read through an archive.

        Args:
            archive: whose instances are read.
            catalog: where the repair is owed that could not be made at once.
            repair: mends one copy.
            node: on whose behalf, for the audit record.
        """
        self._archive = archive
        self._catalog = catalog
        self._repair = repair
        self._node = node

    def select(self, principal: Principal, selection: Selection, *, destination: str = "") -> list[Instance]:
        """The instances of a retrieval (see `node.archive.archive.Archive.select`)."""
        return list(self._archive.select(principal, selection, destination=destination))

    def open(self, instance: Instance) -> StoredFile:
        """The stored file of an instance, whole.

        Raises:
            Damaged: it is not whole, and no other site has a whole copy that can be had now.
        """
        try:
            return self._archive.open(instance)
        except Damaged:
            log.error("a copy was found damaged when it was read", extra={"digest": instance.digest})
            if not self._repair.heal(self._node, instance.digest):
                self._catalog.perform(lambda unit: unit.jobs.add(Task.REPAIR, instance.digest))
                raise
        return self._archive.open(instance)
