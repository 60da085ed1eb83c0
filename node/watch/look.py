"""Looking at a site: measures, samples and arrivals, read from the catalog and the disks in one go."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from node.catalog import measures
from node.catalog.counts import shared_studies
from node.catalog.unit import Unit
from node.domain.alert import DAY, SECOND
from node.domain.errors import NodeError
from node.domain.finding import DAMAGE
from node.domain.member import Standing
from node.domain.principal import Action
from node.domain.replica import Lag
from node.identity.certificates import known
from node.identity.home import Home
from node.identity.saml.keys import SpKeys
from node.replication.audit_watch import UNSEEN
from node.settings import AlertSettings, Settings
from node.watch.forecast import WINDOW
from node.watch.logins import feeds, login_days
from node.watch.rhythm import Rhythm
from node.watch.seen import Disk, Flow, Neighbour, Seen

FREE, COUNT, OLDEST = "free", "owed", "owed since"
"""Gauges that are sampled: bytes free by disk; what is owed by direction and site."""
ROUND, AWAKE, READ, MUTE = "round", "awake", "read", "mute"
"""Notes: when it was looked last, since when without a break, which arrivals are learned, what sinks fail."""
EVERY: Final[Mapping[str, int]] = {FREE: 1800 * SECOND, COUNT: 600 * SECOND}
"""How long after the last sample the next is due."""
BREAK: Final = 1800 * SECOND
"""A pause between two looks that is a break."""
MANY: Final = 20_000
"""Arrivals that are learned from in one look; while there are more, no device is judged."""
MOST_REVIEWS: Final = 100
"""Emergencies that an alert each is raised for, the oldest first."""
LOST: Final = 100
"""Lost copies that are looked at in one look."""
CATALOG_RESERVE: Final = 256 << 20
"""Bytes that stay free on the disk of the catalog, where it has one of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to look."""

    settings: Settings
    home: Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look has found, and what of it is to be kept."""

    seen: Seen
    samples: Sequence[tuple[str, str, int]] = ()
    """(gauge, subject, value)."""
    learned: Mapping[str, Rhythm]
    """Rhythms that have changed."""
    read: int
    """The number of the last arrival that was learned from."""


class Eye:
    """Looks at one site."""

    def __init__(self, place: Place) -> None:
        """An eye on a site.

        Args:
            place: where to look.
        """
        self._settings = place.settings
        self._home = place.home

    @property
    def limits(self) -> AlertSettings:
        """From when on something is worth an alert."""
        return self._settings.alerts

    def look(self, unit: Unit, store_error: str = "") -> Look:
        """Look at everything; changes nothing.

        Args:
            unit: a state of the catalog.
            store_error: what came of writing to the store, where that was tried.
        """
        now, gauges, members = unit.now, unit.gauges, unit.members.all()
        samples: list[tuple[str, str, int]] = []
        arrived = self._arrived(unit)
        learned = self._learned(unit, arrived)
        names = {device.ae_title for device in unit.devices.all() if Action.STORE in device.may}
        quarantined, conflicts, strangers = measures.waiting(unit)
        sent = unit.audit_sent.of(self._settings.audit.repository)
        seen = Seen(
            directory=self._settings.directory,
            now=now,
            awake=gauges.noted(AWAKE) if now - gauges.noted(ROUND) <= BREAK else now,
            disks=[self._disk(unit, *one, samples) for one in self._disks()],
            neighbours=[
                self._neighbour(unit, member.site, member.certificates, samples)
                for member in members
                if member.is_active
            ],
            waiting=[member.site for member in members if member.standing is Standing.WAITING],
            certificates=dict(self._certificates(now)),
            feeds=feeds(unit),
            login_days=login_days(unit, SpKeys(self._home.key_folder)),
            damage={kind: many for kind, many in unit.findings.counts().items() if kind in DAMAGE},
            brakes=dict(measures.tripped(unit)),
            oldest_proof_at=measures.oldest_proof(unit),
            scrub_days=self._settings.recovery.scrub_days if self._settings.recovery.scrub_mb else 0,
            rhythms={name: one for name, one in _rhythms(unit, learned).items() if name in names}
            if len(arrived) < MANY
            else {},
            stalled=measures.stalled(unit),
            oldest_job_at=measures.oldest_job(unit),
            quarantined=quarantined,
            conflicts=conflicts,
            shared_studies=len(shared_studies(unit)),
            strangers=strangers,
            opened_at=max((one.used_at for one in unit.accounts.sealed()), default=0),
            emergencies={one.id: one.at for one in unit.emergencies.waiting()[:MOST_REVIEWS]},
            audit_faults=_audit_faults(unit),
            repository=sent.destination if sent.failed_at else "",
            repository_failed_at=sent.failed_at,
            repository_error=sent.error,
            store_error=store_error,
            mute={sink: since for sink, since in gauges.notes(MUTE).items() if since},
        )
        read = arrived[-1][0] if arrived else min(gauges.noted(READ), measures.last_arrival(unit))
        return Look(seen=seen, samples=samples, learned=learned, read=read)

    def _disks(self) -> Iterator[tuple[str, Path, int]]:
        """Name, place and reserve of each file system."""
        store, catalog = self._settings.store, self._settings.catalog.path
        yield "store", store.path, store.reserve_mb << 20
        with suppress(OSError):
            if catalog.stat().st_dev != store.path.stat().st_dev:
                yield "catalog", catalog.parent, CATALOG_RESERVE

    def _disk(
        self, unit: Unit, name: str, path: Path, reserve: int, samples: list[tuple[str, str, int]]
    ) -> Disk:
        try:
            free = shutil.disk_usage(path).free
        except OSError:
            free = 0
        kept = unit.gauges.series(FREE, name, unit.now - WINDOW)
        if not kept or unit.now - kept[-1][0] >= EVERY[FREE]:
            samples.append((FREE, name, free))
        return Disk(name=name, free=free, reserve=reserve, samples=[*kept, (unit.now, free)])

    def _neighbour(
        self, unit: Unit, site: str, certificates: Iterable[str], samples: list[tuple[str, str, int]]
    ) -> Neighbour:
        peer = self._home.site.trusted(site)
        contact = unit.members.contact(peer)
        owed_at = measures.owed_since(unit, peer) or 0
        return Neighbour(
            site=site,
            heard_at=contact.heard_at,
            error=contact.error,
            certificate_days=max((known(pem).days_left(unit.now) for pem in certificates), default=1000),
            out=_flow(unit, f"to {site}", lambda: (measures.owed(unit, peer), owed_at), samples),
            coming=_flow(unit, f"from {site}", lambda: _lag(unit.wants.lag(peer)), samples),
            lost=measures.lost(unit, peer, LOST),
            skew=contact.skew,
            rtt=contact.rtt,
            unaudited=unit.now - since if (since := unit.gauges.noted(UNSEEN, site)) else 0,
        )

    def _certificates(self, now: int) -> Iterator[tuple[str, int]]:
        """Days left of the certificates of this site; one that cannot be read stops the node by itself."""
        with suppress(OSError, ValueError):
            yield "dicom", days_left(self._settings.dicom.certificate, now)
        with suppress(NodeError):
            yield "node", max(one.days_left(now) for one in self._home.certificates())

    def _arrived(self, unit: Unit) -> Sequence[tuple[int, str, int]]:
        """What has arrived since the last look."""
        after = unit.gauges.noted(READ)
        if after > measures.last_arrival(unit):  # a rebuild has numbered them anew; what is known is skipped
            after = 0
        return measures.arrivals(unit, after, MANY)

    def _learned(self, unit: Unit, arrived: Sequence[tuple[int, str, int]]) -> dict[str, Rhythm]:
        """The rhythms that these arrivals change."""
        so_far = _rhythms(unit, {}) if arrived else {}
        learned: dict[str, Rhythm] = {}
        for name, at in _devices(arrived, unit.origin):
            rhythm = learned.get(name) or so_far.get(name)
            heard = rhythm.heard(at, self.limits.modality_hours) if rhythm else Rhythm.begun(at)
            if heard is not rhythm:
                learned[name] = heard
        return learned


def _audit_faults(unit: Unit) -> dict[str, list[str]]:
    """What is wrong with audit records, by site."""
    found: dict[str, list[str]] = {}
    for fault in unit.witnesses.faults():
        found.setdefault(fault.site, []).append(str(fault))
    return found


def days_left(certificate: Path, now: int) -> int:
    """Whole days until the first certificate of a file ends; negative when it has."""
    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return (ends - datetime.fromtimestamp(now / SECOND, UTC)).days


def keep(unit: Unit, look: Look) -> None:
    """Keep what is to be kept of a look."""
    gauges = unit.gauges
    for name, subject, value in look.samples:
        gauges.sample(name, subject, value)
        gauges.prune(name, unit.now - (WINDOW + DAY if name == FREE else DAY))
    for device, rhythm in look.learned.items():
        gauges.learn(device, rhythm.written())
    gauges.note(READ, "", look.read)
    gauges.note(AWAKE, "", look.seen.awake)
    gauges.note(ROUND, "", unit.now)


def _devices(arrived: Iterable[tuple[int, str, int]], site: str) -> Iterator[tuple[str, int]]:
    """Name and moment of what devices of this site have sent, in order of time."""
    prefix, suffix = "device:", f"@{site}"
    for at, source in sorted((at, source) for _, source, at in arrived):
        if source.startswith(prefix) and source.endswith(suffix):
            yield source[len(prefix) : -len(suffix)], at


def _rhythms(unit: Unit, learned: Mapping[str, Rhythm]) -> dict[str, Rhythm]:
    return {name: Rhythm.read(text) for name, text in unit.gauges.rhythms().items()} | dict(learned)


def _flow(
    unit: Unit, subject: str, measure: Callable[[], tuple[int, int]], samples: list[tuple[str, str, int]]
) -> Flow:
    """What is owed in one direction: measured where a sample is due, else as it was at the last one."""
    counts = unit.gauges.series(COUNT, subject, unit.now - DAY)
    oldest = unit.gauges.series(OLDEST, subject, unit.now - DAY)
    if counts and oldest and unit.now - counts[-1][0] < EVERY[COUNT]:
        return Flow(objects=counts[-1][1], oldest_at=oldest[-1][1], counts=counts, oldest=oldest)
    objects, oldest_at = measure()
    samples += [(COUNT, subject, objects), (OLDEST, subject, oldest_at)]
    return Flow(
        objects=objects,
        oldest_at=oldest_at,
        counts=[*counts, (unit.now, objects)],
        oldest=[*oldest, (unit.now, oldest_at)],
    )


def _lag(lag: Lag) -> tuple[int, int]:
    return lag.objects, lag.oldest_at or 0
