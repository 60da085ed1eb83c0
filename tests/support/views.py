"""What a site shows: rows as they have to be the same at every site, without what is its own affair."""

from __future__ import annotations

import hashlib

from node.domain.ids import Digest
from tests.support.federation import FederatedSite

_PATIENT = "p.issuer || '^' || p.patient_id"
_QUESTIONS = {
    "instance": """SELECT uid, sop_class, transfer_syntax, digest, size, source, stamp, held FROM instance""",
    "conflict": """SELECT instance, digest, transfer_syntax, size, state, source, stamp, held
        FROM conflict WHERE state != 'folded'""",
    "series": f"""SELECT r.uid, s.uid, {_PATIENT}, r.modality, r.description, r.instance_count, r.stamp,
        r.more FROM series r JOIN study s ON s.id = r.study JOIN patient p ON p.id = s.patient""",
    "study": f"""SELECT s.uid, {_PATIENT}, b.issuer || '^' || b.patient_id, s.date, s.accession,
        s.description, s.referring, s.referring_folded, s.modalities, s.series_count, s.instance_count,
        s.bytes, s.stamp, s.more
        FROM study s JOIN patient p ON p.id = s.patient JOIN patient b ON b.id = s.shown""",
    "study_modality": f"""SELECT s.uid, {_PATIENT}, m.modality
        FROM study_modality m JOIN study s ON s.id = m.study JOIN patient p ON p.id = s.patient""",
    "patient": """SELECT issuer, patient_id, name, name_folded, birth_date, sex, merged, stamp, more
        FROM patient""",
    "merging": "SELECT issuer, patient_id, into_issuer, into_id FROM merging",
}


def view(site: FederatedSite) -> dict[str, list[tuple]]:
    """All rows of patients to instances, conflicts and merges, in order."""
    return {table: sorted(site.rows(question), key=str) for table, question in _QUESTIONS.items()}


def copies_of(site: FederatedSite) -> set[Digest]:
    """Digests of all bytes that a site's catalog says are there."""
    told = """SELECT digest FROM instance WHERE held UNION SELECT digest FROM conflict WHERE held
        UNION SELECT digest FROM withdrawn"""
    return {Digest(row[0]) for row in site.rows(told)}


def shown(site: FederatedSite) -> set[Digest]:
    """Digests of what a site shows, conflicts included."""
    told = "SELECT digest FROM instance WHERE held UNION SELECT digest FROM conflict WHERE held"
    return {Digest(row[0]) for row in site.rows(told)}


def holds(site: FederatedSite, digest: Digest) -> bool:
    """Whether bytes are in the store of a site, whole."""
    content = site.blobs.blobs.get(digest)
    return content is not None and hashlib.sha256(content).hexdigest() == digest
