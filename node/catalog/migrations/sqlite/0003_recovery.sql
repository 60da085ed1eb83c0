-- What is wrong, what was read back, what holds repairs up, and which part each site plays.

CREATE TABLE finding (
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    site TEXT NOT NULL,
    instance TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT '0',
    state TEXT NOT NULL,
    evidence TEXT NOT NULL DEFAULT '',
    found_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    settled_at INTEGER NOT NULL DEFAULT '0',
    outcome TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kind, digest, site)
);

CREATE INDEX finding_by_state ON finding (state, found_at);

CREATE INDEX finding_by_digest ON finding (digest);

CREATE INDEX finding_by_time ON finding (found_at);

CREATE TABLE proof (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    proved_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX proof_by_time ON proof (proved_at);

CREATE TABLE round (
    kind TEXT NOT NULL PRIMARY KEY,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL DEFAULT '0',
    objects INTEGER NOT NULL DEFAULT '0',
    bytes INTEGER NOT NULL DEFAULT '0',
    found INTEGER NOT NULL DEFAULT '0'
);

CREATE TABLE brake (
    name TEXT NOT NULL PRIMARY KEY,
    tripped_at INTEGER NOT NULL DEFAULT '0',
    reason TEXT NOT NULL DEFAULT '',
    counted INTEGER NOT NULL DEFAULT '0',
    since INTEGER NOT NULL DEFAULT '0',
    allowed INTEGER NOT NULL DEFAULT '0'
);

ALTER TABLE contact ADD COLUMN skew INTEGER NOT NULL DEFAULT '0';

ALTER TABLE contact ADD COLUMN rtt INTEGER NOT NULL DEFAULT '0';

CREATE TABLE alert (
    key TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL DEFAULT '',
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    what TEXT NOT NULL DEFAULT '',
    todo TEXT NOT NULL DEFAULT '',
    said_at INTEGER NOT NULL DEFAULT '0',
    eased_at INTEGER NOT NULL DEFAULT '0',
    over_at INTEGER NOT NULL DEFAULT '0',
    acknowledged_at INTEGER NOT NULL DEFAULT '0',
    acknowledged_by TEXT NOT NULL DEFAULT '',
    told TEXT NOT NULL DEFAULT '',
    settled INTEGER NOT NULL DEFAULT '0',
    PRIMARY KEY (key, since_at)
);

CREATE INDEX alert_by_settled ON alert (settled, since_at);

CREATE TABLE gauge (
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name, subject, at)
) WITHOUT ROWID;

CREATE TABLE rhythm (
    device TEXT NOT NULL PRIMARY KEY,
    learned TEXT NOT NULL
);

CREATE TABLE partner (
    ae_title TEXT NOT NULL PRIMARY KEY,
    roles TEXT NOT NULL,
    terms TEXT NOT NULL DEFAULT '',
    hours TEXT NOT NULL DEFAULT '',
    fetch TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    seen INTEGER NOT NULL DEFAULT '0',
    looked_at INTEGER NOT NULL DEFAULT '0',
    migrated_at INTEGER NOT NULL DEFAULT '0',
    failed_at INTEGER NOT NULL DEFAULT '0',
    error TEXT NOT NULL DEFAULT ''
);

CREATE TABLE partner_copy (
    partner TEXT NOT NULL,
    instance TEXT NOT NULL,
    study TEXT NOT NULL,
    digest TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    txn TEXT NOT NULL DEFAULT '',
    asked_at INTEGER NOT NULL DEFAULT '0',
    why TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (partner, instance)
) WITHOUT ROWID;

CREATE INDEX partner_copy_by_state ON partner_copy (partner, state);

CREATE INDEX partner_copy_by_study ON partner_copy (partner, study);

CREATE TABLE moving_window (
    partner TEXT NOT NULL,
    part TEXT NOT NULL,
    state TEXT NOT NULL,
    listed INTEGER NOT NULL DEFAULT '0',
    PRIMARY KEY (partner, part)
) WITHOUT ROWID;

CREATE TABLE moving_study (
    partner TEXT NOT NULL,
    study TEXT NOT NULL,
    date TEXT NOT NULL DEFAULT '',
    told INTEGER,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT '0',
    due_at INTEGER NOT NULL DEFAULT '0',
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (partner, study)
) WITHOUT ROWID;

CREATE INDEX moving_study_by_due ON moving_study (partner, state, due_at);

CREATE TABLE moving_series (
    partner TEXT NOT NULL,
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    modality TEXT NOT NULL DEFAULT '',
    there INTEGER NOT NULL DEFAULT '0',
    here INTEGER NOT NULL DEFAULT '0',
    bytes INTEGER NOT NULL DEFAULT '0',
    fetched INTEGER NOT NULL DEFAULT '0',
    state TEXT NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (partner, study, series)
) WITHOUT ROWID;

CREATE TABLE moving_difference (
    partner TEXT NOT NULL,
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    instance TEXT NOT NULL,
    kind TEXT NOT NULL,
    why TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (partner, study, series, instance, kind)
) WITHOUT ROWID;

CREATE TABLE role (
    site TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    term INTEGER NOT NULL,
    successors TEXT NOT NULL DEFAULT '',
    said_by TEXT NOT NULL DEFAULT '',
    stamp TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT ''
);

CREATE TABLE recall (
    site TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    agreed INTEGER NOT NULL DEFAULT '0',
    PRIMARY KEY (site, epoch)
);

CREATE TABLE given_up (
    digest TEXT NOT NULL PRIMARY KEY
);
