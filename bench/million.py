"""A site with a million instances in its catalog: 100,000 studies of two series of five instances.

The catalog is filled as the archive fills it, journal and audit ledger included, in units of many instances;
the bytes of these instances are not made. The site is kept for later runs and copied for each.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import node
from bench import corpus, servers
from bench.blaster import CALLING
from bench.corpus import Identity
from node.archive.admit import Stored, record
from node.archive.header import read_header
from node.archive.identity import Identified
from node.blobs.memory import MemoryStore
from node.catalog.catalog import Catalog
from node.catalog.proofs import Round
from node.domain.ids import Digest, InstanceUID, SeriesUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.instance import Offer
from node.domain.principal import Kind, Principal
from node.domain.query import Cell
from node.recovery.check import LOOK

STUDIES = 100_000
SERIES_PER_STUDY = 2
INSTANCES_PER_SERIES = 5
SENDER = Principal(kind=Kind.DEVICE, name=CALLING, site=servers.SITE, address="127.0.0.1")
ARRIVED_AT = 1_767_225_600_000_000
FAR_AWAY = 4_102_444_800_000_000
"""A moment that the scrub waits for: the year 2100."""
_PER_UNIT = 20_000
_WRITTEN_BY = (
    "archive/admit",
    "archive/identity",
    "audit/record",
    "catalog/arrival",
    "catalog/attributes",
    "catalog/audit",
    "catalog/folding",
    "catalog/instances",
    "catalog/journal",
    "domain/chain",
    "journal/entry",
)
"""Modules of the node that decide what a filled catalog holds."""


def site() -> Path:
    """The site folder, filled where it is missing or was filled by other code."""
    kept = servers.CACHE / f"million-{_fingerprint()}"
    if not kept.exists():
        for outdated in servers.CACHE.glob("million-*"):
            shutil.rmtree(outdated)
        with servers.run_folder() as folder:
            servers.make_site(folder / "site")
            _fill(folder / "site")
            (folder / "site").rename(kept)
    return kept


def _fingerprint() -> str:
    """Changes with everything that decides what the catalog holds."""
    root = Path(node.__file__).parent
    sources = [Path(__file__), Path(corpus.__file__), *sorted(root.rglob("*.sql"))]
    sources += [root / f"{module}.py" for module in _WRITTEN_BY]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


class _Nowhere(MemoryStore):
    """A store that says that it has everything: the bytes are not made."""

    def size(self, digest: Digest) -> int | None:
        """As many bytes as any."""
        return 1


def _fill(folder: Path) -> None:
    print("filling a catalog with a million instances; this is done once", file=sys.stderr, flush=True)
    catalog = Catalog(folder / "catalog.db", origin=servers.SITE, clock=lambda: ARRIVED_AT)
    arrivals, nowhere = _arrivals(), _Nowhere()
    try:
        while batch := list(islice(arrivals, _PER_UNIT)):
            with catalog.begin() as unit:
                for stored in batch:
                    record(unit, nowhere, SENDER, stored)
        with catalog.begin() as unit:  # nobody is to look for bytes that were never made
            unit.proofs.save_round(LOOK, Round(begun_at=FAR_AWAY))
    finally:
        catalog.close()


def _arrivals() -> Iterator[Stored]:
    template = corpus.small()
    offer = Offer(
        sop_class=SOPClassUID(template.sop_class),
        instance=InstanceUID(corpus.MARKER.instance),
        transfer_syntax=TransferSyntaxUID(corpus.TRANSFER_SYNTAX),
    )
    common = dict(read_header(offer, memoryview(template.data)))
    for study in range(STUDIES):
        described: dict[int, Cell] = {
            0x00080060: corpus.modality(study),
            0x00081030: corpus.description(study),
        }
        for series in range(SERIES_PER_STUDY):
            for number in range(1, INSTANCES_PER_SERIES + 1):
                identity = corpus.identity(study, series=series, number=number)
                yield _arrival(offer, common | described, identity)


def _arrival(offer: Offer, common: dict[int, Cell], identity: Identity) -> Stored:
    own: dict[int, Cell] = {
        0x00080018: identity.instance,
        0x00080020: identity.study_date,
        0x00080050: identity.accession,
        0x00100010: identity.name,
        0x00100020: identity.patient_id,
        0x0020000D: identity.study,
        0x0020000E: identity.series,
        0x00200013: str(identity.number),
    }
    identified = Identified(
        offer=replace(offer, instance=InstanceUID.trusted(identity.instance)),
        series=SeriesUID.trusted(identity.series),
        study=StudyUID.trusted(identity.study),
        patient_id=identity.patient_id,
        issuer="",
        attributes=common | own,
    )
    digest = Digest.trusted(hashlib.sha256(identity.instance.encode()).hexdigest())
    return Stored(identified=identified, digest=digest, size=527_000)
