"""Assembly: from a site folder to the doors, with nothing hidden."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.archive.archive import Archive
from node.blobs.filesystem import FilesystemStore
from node.catalog.catalog import Catalog
from node.domain.clock import Clock, system_clock
from node.domain.principal import Kind, Principal
from node.identity.devices import Devices
from node.settings import Settings, load

_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An open site: its settings, its stores and its doors."""

    directory: Path
    settings: Settings
    blobs: FilesystemStore
    catalog: Catalog
    archive: Archive
    devices: Devices

    def operator(self) -> Principal:
        """Whoever works on the machine itself, under the account name that runs this process."""
        return Principal(kind=Kind.OPERATOR, name=getpass.getuser(), site=self.settings.site.name)


@contextmanager
def open_site(directory: Path, *, clock: Clock = system_clock) -> Iterator[Site]:
    """Open the site in a folder; several processes may have it open at once.

    Raises:
        NotASite, BadSetting: the folder or its settings are not in order.
        SchemaTooNew: a newer program has written the catalog.
    """
    settings = load(directory, os.environ)
    name = settings.site.name
    blobs = FilesystemStore(settings.store.path, reserve=settings.store.reserve_mb * _MIB)
    with closing(Catalog(settings.catalog.path, origin=name, clock=clock)) as catalog:
        yield Site(
            directory=directory,
            settings=settings,
            blobs=blobs,
            catalog=catalog,
            archive=Archive(blobs, catalog, quarantine_limit=settings.store.quarantine_limit_mb * _MIB),
            devices=Devices(catalog, name),
        )
