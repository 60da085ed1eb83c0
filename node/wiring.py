"""Assembly: from a site folder to the doors, with nothing hidden."""

from __future__ import annotations

import fcntl
import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.archive.archive import Archive
from node.blobs.filesystem import FilesystemStore
from node.blobs.mark import demand_store
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.clock import Clock, system_clock
from node.domain.ids import SiteId
from node.domain.principal import Kind, Principal
from node.domain.rule import Traits
from node.identity import keys
from node.identity.account_book import AccountBook
from node.identity.accounts import Accounts
from node.identity.audit_book import AuditBook
from node.identity.devices import Devices
from node.identity.emergencies import Emergencies
from node.identity.grants import Grants
from node.identity.home import Home
from node.identity.invitations import Invitations
from node.identity.members import Members, derive_member
from node.identity.policies import Policies
from node.recovery.brake import Brake, Limits
from node.recovery.relist import Relist
from node.recovery.roles import Roles
from node.replication.answer import Answers
from node.replication.effects import Effects
from node.replication.intake import Intake
from node.replication.rules import RuleBook
from node.replication.service import Service
from node.settings import RecoverySettings, Settings, load

_MIB = 1 << 20
UPLOADS = "uploads"
"""A folder in that of the store."""
KEYS = "keys"
"""The folder of the keys inside of the site folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An open site: its settings, its stores and its doors."""

    directory: Path
    settings: Settings
    clock: Clock
    blobs: FilesystemStore
    uploads: FilesystemStore
    """What other sites put here, until it has gone through the door of the archive."""
    catalog: Catalog
    archive: Archive
    devices: Devices
    accounts: Accounts
    account_book: AccountBook
    home: Home
    audit_book: AuditBook
    members: Members
    invitations: Invitations
    effects: Effects
    intake: Intake
    service: Service
    answers: Answers
    rules: RuleBook
    brake: Brake
    relist: Relist
    roles: Roles
    grants: Grants
    policies: Policies
    emergencies: Emergencies

    def operator(self) -> Principal:
        """Whoever works on the machine itself: the account that asked for this process, also by `sudo`."""
        name = os.environ.get("SUDO_USER") or getpass.getuser()
        return Principal(kind=Kind.OPERATOR, name=name, site=self.settings.site.name)

    def node(self) -> Principal:
        """The node itself, for what it does of its own accord."""
        name = self.settings.site.name
        return Principal(kind=Kind.NODE, name=name, site=name)


@contextmanager
def open_site(directory: Path, *, clock: Clock = system_clock) -> Iterator[Site]:
    """Open the site in a folder; several processes may have it open at once.

    Raises:
        NotASite, BadSetting: the folder or its settings are not in order.
        SchemaTooNew: a newer program has written the catalog.
        StoreAbsent: the folder of the store is not that of this site, or its disk is not mounted.
    """
    settings = load(directory, os.environ)
    _make_key(directory, settings, clock)
    with closing(Catalog(settings.catalog.path, origin=settings.site.name, clock=clock)) as catalog:
        with catalog.reading() as unit:
            is_new = unit.holdings.is_nothing
        with _alone(directory):
            demand_store(settings.store.path, directory, settings.site.name, is_new=is_new)
        blobs = FilesystemStore(settings.store.path, reserve=settings.store.reserve_mb * _MIB)
        yield assemble(directory, settings, blobs, catalog, clock)


def _make_key(directory: Path, settings: Settings, clock: Clock) -> None:
    """See that the node has a key: a site that was made before nodes had keys gets one, once."""
    with _alone(directory):
        keys.make(directory / KEYS, site=settings.site.name, now=clock())


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let no other process do the same meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def assemble(
    directory: Path, settings: Settings, blobs: FilesystemStore, catalog: Catalog, clock: Clock
) -> Site:
    """The doors of a site whose stores are open."""
    home = home_of(directory, settings)
    archive = Archive(
        blobs,
        catalog,
        quarantine_limit=settings.store.quarantine_limit_mb * _MIB,
        owed=_owed,
        commit_copies=settings.dicom.commitment == "copies",
        verify_reads=settings.recovery.verify_reads,
    )
    effects = Effects(blobs, derive_member)
    intake = Intake(catalog, blobs, effects)
    return Site(
        directory=directory,
        settings=settings,
        clock=clock,
        blobs=blobs,
        uploads=FilesystemStore(settings.store.path / UPLOADS, reserve=settings.store.reserve_mb * _MIB),
        catalog=catalog,
        archive=archive,
        devices=Devices(catalog, settings.site.name),
        accounts=Accounts(catalog, settings.site.name, local=settings.login.local, mfa=settings.login.mfa),
        account_book=AccountBook(catalog, settings.site.name),
        home=home,
        audit_book=AuditBook(catalog, home),
        members=Members(catalog, home, share_with_new=settings.federation.share_with_new_members),
        invitations=Invitations(catalog, home),
        effects=effects,
        intake=intake,
        service=Service(catalog, blobs, intake, home),
        answers=Answers(archive, catalog, settings.dicom.ae_title),
        rules=RuleBook(catalog),
        brake=Brake(catalog, _limits(settings.recovery)),
        relist=Relist(catalog, blobs, archive),
        roles=Roles(catalog),
        grants=Grants(catalog),
        policies=Policies(catalog),
        emergencies=Emergencies(catalog),
    )


def _limits(settings: RecoverySettings) -> Limits:
    return Limits(share=settings.brake_percent / 100, least=settings.brake_least)


def home_of(directory: Path, settings: Settings) -> Home:
    """This site, as it announces itself."""
    return Home(
        site=settings.site.name,
        key_folder=directory / KEYS,
        url=settings.node.public_url(os.uname().nodename),
        ae_title=settings.dicom.ae_title,
        organization=settings.login.organization,
        scopes=tuple(one.strip().lower() for one in settings.federation.scopes.split(",") if one.strip()),
    )


def _owed(unit: Unit, traits: Traits) -> Sequence[SiteId]:
    return unit.rules.desired(traits)
