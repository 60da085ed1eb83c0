r"""The tables, as SQLAlchemy Core metadata. Numbered migrations make them; a test holds both equal.

```
patient 1─* study 1─* series 1─* instance 1─* conflict        derived: rebuildable from journal and blobs
              └─* study_modality
journal   audit                                               appended, never changed
job   device   knock   quarantine   node                      what is to do, who may call, what waits
```

Text columns hold values as DICOM writes them, decoded: `20260131`, `NOVÁKOVÁ^JANA`, `1\\2`. `more` holds the
remaining attributes of a level as JSON, keyed by tag (`"00081032"`).
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()


def _text(name: str, **options: object) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="", **options)  # type: ignore[arg-type]


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


node = Table(
    "node",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
)

patient = Table(
    "patient",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("issuer"),
    _text("patient_id"),
    _text("name"),
    _text("name_folded"),
    _text("birth_date"),
    _text("sex"),
    _text("more"),
    UniqueConstraint("patient_id", "issuer"),
    Index("patient_by_name", "name_folded"),
    Index("patient_by_birth_date", "birth_date"),
)

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("patient", ForeignKey("patient.id"), nullable=False),
    _text("date"),
    _text("time"),
    _text("accession"),
    _text("study_id"),
    _text("description"),
    _text("referring"),
    _text("referring_folded"),
    _text("modalities"),
    _text("more"),
    _count("series_count"),
    _count("instance_count"),
    _count("bytes"),
    Column("arrived_at", Integer, nullable=False),
    UniqueConstraint("uid", "patient"),
    Index("study_by_patient", "patient"),
    Index("study_by_date", "date", "time"),
    Index("study_by_accession", "accession"),
    Index("study_by_study_id", "study_id"),
)

study_modality = Table(
    "study_modality",
    metadata,
    Column("modality", Text, primary_key=True),
    Column("study", ForeignKey("study.id"), primary_key=True),
    Index("study_modality_by_study", "study"),
)

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("study", ForeignKey("study.id"), nullable=False),
    _text("modality"),
    _text("number"),
    _text("description"),
    _text("body_part"),
    _text("date"),
    _text("time"),
    _text("more"),
    _count("instance_count"),
    UniqueConstraint("uid", "study"),
    Index("series_by_study", "study"),
    Index("series_by_date", "date"),
)

instance = Table(
    "instance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("series", ForeignKey("series.id"), nullable=False),
    Column("sop_class", Text, nullable=False),
    _text("number"),
    _text("more"),
    Column("transfer_syntax", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("arrived_at", Integer, nullable=False),
    _text("source"),
    Index("instance_by_series", "series"),
)

conflict = Table(
    "conflict",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("transfer_syntax", Text, nullable=False),
    Column("size", Integer, nullable=False),
    _text("source"),
    Column("arrived_at", Integer, nullable=False),
    Column("state", Text, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("digest", Text, primary_key=True),
    _text("reason"),
    _text("source"),
    Column("size", Integer, nullable=False),
    _text("transfer_syntax"),
    Column("arrived_at", Integer, nullable=False),
    Column("state", Text, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("deed", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    _text("payload"),
    Column("state", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("due_at", Integer, nullable=False),
    _count("attempts"),
    _text("error"),
    UniqueConstraint("kind", "key"),
    Index("job_by_due", "state", "due_at"),
)

device = Table(
    "device",
    metadata,
    Column("ae_title", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("may", Text, nullable=False),
    Column("certificate", Text),
)

knock = Table(
    "knock",
    metadata,
    Column("ae_title", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    _text("called"),
    _text("asked"),
    Column("count", Integer, nullable=False),
    Column("first_at", Integer, nullable=False),
    Column("last_at", Integer, nullable=False),
)

DERIVED = (conflict, instance, series, study_modality, study, patient, quarantine)
"""What a rebuild clears and makes again, in an order that foreign keys allow."""
