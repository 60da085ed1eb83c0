"""A good request for each operation of each service, so that no operation is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from node.domain.ids import Digest, InstanceUID, StudyUID
from node.domain.replica import CopyState
from services.soap.audit import Audit
from services.soap.catalog import ReplicaCatalog
from services.soap.compared import AskedRange
from services.soap.federation import Federation
from services.soap.framework.blob import Blob
from services.soap.framework.contract import contract_of
from services.soap.news import SiteNews
from services.soap.records import Item, JournalChanges, Mapping, Span
from services.soap.recovering import DrillScenario
from services.soap.recovery import Recovery
from services.soap.services import SERVICES
from services.soap.storage import QueryKey, QueryLevel, Storage

Method = Callable[..., Any]
OPEN = (Federation.greet, Federation.join)
"""The operations by which a stranger joins."""
FINGERPRINT = "0" * 32
IMAGE_KEYS = (
    QueryKey(tag="00100010", vr="PN"),
    QueryKey(tag="00100020", vr="LO"),
    QueryKey(tag="0020000D", vr="UI"),
    QueryKey(tag="0020000E", vr="UI"),
    QueryKey(tag="00080018", vr="UI"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An instance to ask about."""

    uid: InstanceUID
    study: StudyUID
    digest: Digest
    size: int = 1


def everything(*things: Thing, site: str = "prague", origin: str = "brno") -> dict[Method, dict[str, Any]]:
    """A request for each operation for members.

    Args:
        *things: what is asked about; operations that take one ask about the first.
        site: who calls.
        origin: who is called.
    """
    first = things[0]
    digests = tuple(one.digest for one in things)
    uids = tuple(one.uid for one in things)
    mapping = mapping_at(site, first)
    return {
        Storage.search: {"level": QueryLevel.IMAGE, "key": IMAGE_KEYS},
        Storage.search_federation: {"level": QueryLevel.IMAGE, "key": IMAGE_KEYS},
        Storage.list: {"study": tuple(one.study for one in things)},
        Storage.stat: {"digest": first.digest},
        Storage.prepare_to_get: {"digest": digests},
        Storage.prepare_to_put: {"item": (Item(digest=Digest("ab" * 32), size=8),)},
        Storage.put_done: {"ticket": "none"},
        Storage.get_object: {"digest": first.digest},
        Storage.put_object: {"content": Blob(lambda: iter([b"no DICOM"]), 8, "application/dicom")},
        Storage.remove: {"digest": first.digest},
        ReplicaCatalog.create_mappings: {"mapping": (mapping,)},
        ReplicaCatalog.add_mappings: {"mapping": (mapping,)},
        ReplicaCatalog.delete_mappings: {"mapping": (mapping,)},
        ReplicaCatalog.query_mappings: {"instance": first.uid},
        ReplicaCatalog.bulk_query_mappings: {"instance": uids},
        ReplicaCatalog.mappings_exist: {"instance": uids},
        ReplicaCatalog.changes: {"origin": origin, "epoch": 1, "after": 0},
        ReplicaCatalog.changes_again: {"origin": origin, "epoch": 1, "span": (Span(first=1, last=100),)},
        ReplicaCatalog.offer_changes: {"changes": JournalChanges(origin=site, epoch=1, head=0, terms=0)},
        ReplicaCatalog.wanted: {},
        ReplicaCatalog.arrived: {"digest": digests},
        ReplicaCatalog.describe: {"digest": digests},
        ReplicaCatalog.compare: {"range": (AskedRange(prefix="", fingerprint=FINGERPRINT),)},
        Federation.members: {},
        Federation.metadata: {},
        Federation.heartbeat: {"news": news_of_site(site)},
        Federation.consent: {},
        Federation.suspend: {"reason": "maintenance"},
        Federation.resume: {},
        Recovery.status: {},
        Recovery.verify_replicas: {"digest": digests},
        Recovery.repair_replica: {"digest": digests},
        Recovery.findings: {},
        Recovery.start_scrub: {},
        Recovery.rebuild: {},
        Recovery.promote: {"reason": "the other one is lost", "in_place_of": site},
        Recovery.demote: {"reason": "maintenance"},
        Recovery.start_drill: {"scenario": DrillScenario.BIT_ROT},
        Audit.exchange_heads: {},
        Audit.get_audit_heads: {},
        Audit.get_audit_proof: {"after": 0, "last": 10},
        Audit.offer_audit_proof: {"after": 0, "last": 0},
        Audit.get_disclosures: {"study": tuple(one.study for one in things)},
        Recovery.drill_report: {"name": "bit-rot-1"},
        Federation.leave: {"reason": "moving"},
    }


def mapping_at(site: str, thing: Thing) -> Mapping:
    """A copy of an instance at a site."""
    return Mapping(
        instance=thing.uid,
        digest=thing.digest,
        site=site,
        state=CopyState.VERIFIED,
        size=thing.size,
        at=datetime(2026, 1, 14, tzinfo=UTC),
    )


def news_of_site(site: str) -> SiteNews:
    """News of a site whose journal is empty."""
    return SiteNews(
        site=site,
        epoch=1,
        head=0,
        head_hash="0" * 64,
        terms=0,
        metadata=1,
        audit_head=0,
        audit_hash="0" * 64,
    )


def published() -> set[Method]:
    """Every operation that is in a contract."""
    return {
        vars(service)[operation.method]
        for service in SERVICES
        for operation in contract_of(service).operations.values()
    }


def name_of(method: Method) -> str:
    """An operation as people name it."""
    return str(method.__qualname__)
