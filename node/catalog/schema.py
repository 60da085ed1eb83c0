r"""The tables, as SQLAlchemy Core metadata. Numbered migrations make them; a test holds both equal.

```
patient 1─* study 1─* series 1─* instance 1─* conflict        derived: rebuildable from journal and blobs
              └─* study_modality   merging   withdrawn   replica   member 1─* member_certificate
role                                                          derived: from the facts about it alone
common   common_sum                                           in step with the above by triggers
journal   audit                                               appended, never changed
cursor   gap   want                                           how far journals are read, what is fetched
recall   given_up                                             what a restored site took back of its journal
finding   proof   round   brake                               what is wrong, what was read back and when
partner 1─* partner_copy   moving_*                           copies at foreign archives, what comes here
alert   gauge   rhythm                                        what persons are told of, and measured for that
contact   invitation   ticket                                 dealings with members that are no facts
job   device   knock   quarantine   node                      what is to do, who may call, what waits
policy   role_grant   emergency   account                     which person may what; local accounts
idp_source 1─* idp   login   taken   session                  how persons log in
audit_head   witness   audit_fault   audit_sent               signed ends of audit records, here and of others
```

A `stamp` says which fact a row comes from, so that the earliest one wins at every site alike.

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
    text,
)

metadata = MetaData()

_SELDOM = "kind NOT IN ('instance', 'copies', 'compare', 'quarantine', 'settle')"


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
    _text("stamp"),
    _count("merged"),
    UniqueConstraint("patient_id", "issuer"),
    Index("patient_by_name", "name_folded"),
    Index("patient_by_birth_date", "birth_date"),
)

merging = Table(
    "merging",
    metadata,
    Column("patient_id", Text, primary_key=True),
    Column("issuer", Text, primary_key=True),
    Column("into_id", Text, nullable=False),
    Column("into_issuer", Text, nullable=False),
    Index("merging_by_into", "into_id", "into_issuer"),
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
    _text("stamp"),
    _count("shown"),
    UniqueConstraint("uid", "patient"),
    Index("study_by_patient", "patient"),
    Index("study_by_shown", "shown"),
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
    _text("stamp"),
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
    _text("stamp"),
    Column("held", Integer, nullable=False, server_default="1"),
    Index("instance_by_series", "series"),
    Index("instance_by_digest", "digest"),
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
    _text("stamp"),
    Column("held", Integer, nullable=False, server_default="1"),
    Index("conflict_by_digest", "digest"),
)

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("transfer_syntax", Text, nullable=False),
    Column("size", Integer, nullable=False),
    _text("source"),
    Column("arrived_at", Integer, nullable=False),
    _text("stamp"),
    _text("study"),
    _text("traits"),
    Index("withdrawn_by_digest", "digest"),
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
    _text("subject"),
    Index("journal_by_subject", "subject"),
    Index("journal_by_kind", "kind", "origin", sqlite_where=text(_SELDOM), postgresql_where=text(_SELDOM)),
)

replica = Table(
    "replica",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("site", Text, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("at", Integer, nullable=False),
    Index("replica_by_site", "site", "state", "at"),
    Index("replica_by_instance", "instance"),
)

common = Table(
    "common",
    metadata,
    Column("site", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    sqlite_with_rowid=False,
)

common_sum = Table(
    "common_sum",
    metadata,
    Column("site", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    _count("count"),
    _count("low"),
    _count("middle"),
    _count("high"),
    sqlite_with_rowid=False,
)

want = Table(
    "want",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("urgency", Integer, nullable=False),
    Column("wanted_at", Integer, nullable=False),
    Column("due_at", Integer, nullable=False),
    _count("attempts"),
    Column("state", Text, nullable=False),
    _text("error"),
    Index("want_by_urgency", "state", "urgency", "wanted_at"),
    Index("want_by_holder", "holder", "state"),
)

cursor = Table(
    "cursor",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)

gap = Table(
    "gap",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
)

recall = Table(
    "recall",
    metadata,
    Column("site", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),
    _count("agreed"),
)

given_up = Table("given_up", metadata, Column("digest", Text, primary_key=True))

member = Table(
    "member",
    metadata,
    Column("site", Text, primary_key=True),
    Column("descriptor", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("url", Text),
    _text("ae_title"),
    Column("standing", Text, nullable=False),
    Column("introduced_by", Text, nullable=False),
    _text("reason"),
    _text("export"),
    _text("accept"),
    _text("gives"),
    _text("takes"),
)

member_certificate = Table(
    "member_certificate",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("pem", Text, nullable=False),
    Index("member_certificate_by_site", "site"),
)

contact = Table(
    "contact",
    metadata,
    Column("site", Text, primary_key=True),
    _count("heard_at"),
    _count("head"),
    Column("epoch", Integer, nullable=False, server_default="1"),
    _count("terms"),
    _text("error"),
    _count("failed_at"),
    _text("heads"),
    _count("skew"),
    _count("rtt"),
)

invitation = Table(
    "invitation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("expires_at", Integer, nullable=False),
    _count("attempts"),
    Column("state", Text, nullable=False),
    _text("options"),
)

ticket = Table(
    "ticket",
    metadata,
    Column("id", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("digests", Text, nullable=False),
    Column("expires_at", Integer, nullable=False),
    _text("who"),
    Index("ticket_by_expiry", "expires_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("deed", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    _text("study"),
    _text("patient"),
    Index("audit_by_study", "study", sqlite_where=text("study != ''"), postgresql_where=text("study != ''")),
    Index(
        "audit_by_patient",
        "patient",
        sqlite_where=text("patient != ''"),
        postgresql_where=text("patient != ''"),
    ),
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
    _text("people"),
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

finding = Table(
    "finding",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("site", Text, primary_key=True),
    _text("instance"),
    _count("size"),
    Column("state", Text, nullable=False),
    _text("evidence"),
    Column("found_at", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
    _count("settled_at"),
    _text("outcome"),
    Index("finding_by_state", "state", "found_at"),
    Index("finding_by_digest", "digest"),
    Index("finding_by_time", "found_at"),
)

proof = Table(
    "proof",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("proved_at", Integer, nullable=False),
    Index("proof_by_time", "proved_at"),
    sqlite_with_rowid=False,
)

round_ = Table(
    "round",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("begun_at", Integer, nullable=False),
    _count("ended_at"),
    _count("objects"),
    _count("bytes"),
    _count("found"),
)

brake = Table(
    "brake",
    metadata,
    Column("name", Text, primary_key=True),
    _count("tripped_at"),
    _text("reason"),
    _count("counted"),
    _count("since"),
    _count("allowed"),
)

alert = Table(
    "alert",
    metadata,
    Column("key", Text, primary_key=True),
    Column("since_at", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    _text("subject"),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    _text("what"),
    _text("todo"),
    _count("said_at"),
    _count("eased_at"),
    _count("over_at"),
    _count("acknowledged_at"),
    _text("acknowledged_by"),
    _text("told"),
    _count("settled"),
    Index("alert_by_settled", "settled", "since_at"),
)

gauge = Table(
    "gauge",
    metadata,
    Column("name", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("at", Integer, primary_key=True),
    Column("value", Integer, nullable=False),
    sqlite_with_rowid=False,
)

rhythm = Table(
    "rhythm",
    metadata,
    Column("device", Text, primary_key=True),
    Column("learned", Text, nullable=False),
)

partner = Table(
    "partner",
    metadata,
    Column("ae_title", Text, primary_key=True),
    Column("roles", Text, nullable=False),
    _text("terms"),
    _text("hours"),
    Column("fetch", Text, nullable=False),
    Column("since_at", Integer, nullable=False),
    _count("seen"),
    _count("looked_at"),
    _count("migrated_at"),
    _count("failed_at"),
    _text("error"),
)

partner_copy = Table(
    "partner_copy",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("study", Text, nullable=False),
    _text("digest"),
    Column("state", Text, nullable=False),
    Column("at", Integer, nullable=False),
    _text("txn"),
    _count("asked_at"),
    _text("why"),
    Index("partner_copy_by_state", "partner", "state"),
    Index("partner_copy_by_study", "partner", "study"),
    sqlite_with_rowid=False,
)

moving_window = Table(
    "moving_window",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("state", Text, nullable=False),
    _count("listed"),
    sqlite_with_rowid=False,
)

moving_study = Table(
    "moving_study",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("study", Text, primary_key=True),
    _text("date"),
    Column("told", Integer),
    Column("state", Text, nullable=False),
    _count("attempts"),
    _count("due_at"),
    _text("error"),
    Index("moving_study_by_due", "partner", "state", "due_at"),
    sqlite_with_rowid=False,
)

moving_series = Table(
    "moving_series",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("study", Text, primary_key=True),
    Column("series", Text, primary_key=True),
    _text("modality"),
    _count("there"),
    _count("here"),
    _count("bytes"),
    _count("fetched"),
    Column("state", Text, nullable=False),
    _text("error"),
    sqlite_with_rowid=False,
)

moving_difference = Table(
    "moving_difference",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("study", Text, primary_key=True),
    Column("series", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    _text("why"),
    sqlite_with_rowid=False,
)

role = Table(
    "role",
    metadata,
    Column("site", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("term", Integer, nullable=False),
    _text("successors"),
    _text("said_by"),
    _text("stamp"),
    _text("reason"),
)

policy = Table(
    "policy",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Integer, nullable=False),
    _text("said_by"),
    _text("reason"),
)

role_grant = Table(
    "role_grant",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    _text("options"),
    Column("state", Text, nullable=False),
    Column("since_at", Integer, nullable=False),
    _count("until_at"),
    _text("said_by"),
    _text("reason"),
    _text("approved_by"),
    _count("ended_at"),
    _text("ended_by"),
    Index("role_grant_by_person", "issuer", "name", "state"),
)

emergency = Table(
    "emergency",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("study", Text, nullable=False),
    _text("reason"),
    Column("at", Integer, nullable=False),
    Column("until_at", Integer, nullable=False),
    _count("reviewed_at"),
    _text("reviewed_by"),
    _text("verdict"),
    _text("note"),
    Index("emergency_by_person", "issuer", "name", "until_at"),
    Index("emergency_by_review", "reviewed_at", "at"),
)

idp_source = Table(
    "idp_source",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    _text("url"),
    _text("pins"),
    _text("options"),
    _count("fetched_at"),
    _count("valid_until"),
    _text("etag"),
    _count("failed_at"),
    _text("error"),
)

idp = Table(
    "idp",
    metadata,
    Column("entity", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("described", Text, nullable=False),
    _text("folded"),
    _text("digest"),
    _count("valid_until"),
    Index("idp_by_source", "source"),
)

login = Table(
    "login",
    metadata,
    Column("id", Text, primary_key=True),
    Column("browser", Text, nullable=False),
    _text("issuer"),
    _text("request"),
    _text("onward"),
    _text("options"),
    Column("until_at", Integer, nullable=False),
    Index("login_by_end", "until_at"),
)

taken = Table(
    "taken",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("until_at", Integer, nullable=False),
    Index("taken_by_end", "until_at"),
    sqlite_with_rowid=False,
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("principal", Text, nullable=False),
    _text("name_id"),
    _text("session_index"),
    _text("browser"),
    _text("options"),
    Column("since_at", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
    Column("until_at", Integer, nullable=False),
    Index("session_by_person", "issuer", "name"),
    Index("session_by_name_id", "issuer", "name_id"),
    Index("session_by_browser", "browser"),
    Index("session_by_end", "until_at"),
)

account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),
    _text("display"),
    _text("hash"),
    Column("state", Text, nullable=False),
    Column("must_change", Integer, nullable=False, server_default="1"),
    _text("totp"),
    _count("totp_used"),
    _count("failures"),
    _count("wait_until"),
    Column("since_at", Integer, nullable=False),
    _count("changed_at"),
    _count("used_at"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("at", Integer, nullable=False),
    Column("signature", Text, nullable=False),
    Column("certificate", Text, nullable=False),
)

witness = Table(
    "witness",
    metadata,
    Column("site", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("hash", Text, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("signature", Text, nullable=False),
    Column("certificate", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("heard_at", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Index("witness_by_state", "site", "state", "seq"),
    sqlite_with_rowid=False,
)

audit_fault = Table(
    "audit_fault",
    metadata,
    Column("site", Text, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("last", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    _text("what"),
    Column("found_at", Integer, nullable=False),
    _count("settled_at"),
    _text("settled_by"),
    _text("note"),
    sqlite_with_rowid=False,
)

audit_sent = Table(
    "audit_sent",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
    _count("at"),
    _count("failed_at"),
    _text("error"),
)

DERIVED = (
    common_sum,
    common,
    conflict,
    withdrawn,
    instance,
    series,
    study_modality,
    study,
    patient,
    quarantine,
    replica,
    merging,
    member_certificate,
    member,
    role,
)
"""What a rebuild clears and makes again, in an order that foreign keys allow."""
