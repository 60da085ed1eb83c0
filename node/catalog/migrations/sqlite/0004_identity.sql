-- Persons, what they may, how they log in, and an audit record that other sites can hold this one to.

CREATE TABLE policy (
    id INTEGER NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL,
    said_by TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT ''
);

CREATE TABLE role_grant (
    id INTEGER NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    options TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL DEFAULT '0',
    said_by TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    approved_by TEXT NOT NULL DEFAULT '',
    ended_at INTEGER NOT NULL DEFAULT '0',
    ended_by TEXT NOT NULL DEFAULT ''
);

CREATE INDEX role_grant_by_person ON role_grant (issuer, name, state);

CREATE TABLE emergency (
    id INTEGER NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    name TEXT NOT NULL,
    study TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    at INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    reviewed_at INTEGER NOT NULL DEFAULT '0',
    reviewed_by TEXT NOT NULL DEFAULT '',
    verdict TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT ''
);

CREATE INDEX emergency_by_person ON emergency (issuer, name, until_at);

CREATE INDEX emergency_by_review ON emergency (reviewed_at, at);

CREATE TABLE idp_source (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    url TEXT NOT NULL DEFAULT '',
    pins TEXT NOT NULL DEFAULT '',
    options TEXT NOT NULL DEFAULT '',
    fetched_at INTEGER NOT NULL DEFAULT '0',
    valid_until INTEGER NOT NULL DEFAULT '0',
    etag TEXT NOT NULL DEFAULT '',
    failed_at INTEGER NOT NULL DEFAULT '0',
    error TEXT NOT NULL DEFAULT ''
);

CREATE TABLE idp (
    entity TEXT NOT NULL,
    source TEXT NOT NULL,
    described TEXT NOT NULL,
    folded TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL DEFAULT '',
    valid_until INTEGER NOT NULL DEFAULT '0',
    PRIMARY KEY (entity, source)
);

CREATE INDEX idp_by_source ON idp (source);

CREATE TABLE login (
    id TEXT NOT NULL PRIMARY KEY,
    browser TEXT NOT NULL,
    issuer TEXT NOT NULL DEFAULT '',
    request TEXT NOT NULL DEFAULT '',
    onward TEXT NOT NULL DEFAULT '',
    options TEXT NOT NULL DEFAULT '',
    until_at INTEGER NOT NULL
);

CREATE INDEX login_by_end ON login (until_at);

CREATE TABLE taken (
    issuer TEXT NOT NULL,
    id TEXT NOT NULL,
    until_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, id)
) WITHOUT ROWID;

CREATE INDEX taken_by_end ON taken (until_at);

CREATE TABLE session (
    id TEXT NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    name TEXT NOT NULL,
    principal TEXT NOT NULL,
    name_id TEXT NOT NULL DEFAULT '',
    session_index TEXT NOT NULL DEFAULT '',
    browser TEXT NOT NULL DEFAULT '',
    options TEXT NOT NULL DEFAULT '',
    since_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL
);

CREATE INDEX session_by_person ON session (issuer, name);

CREATE INDEX session_by_name_id ON session (issuer, name_id);

CREATE INDEX session_by_browser ON session (browser);

CREATE INDEX session_by_end ON session (until_at);

CREATE TABLE account (
    name TEXT NOT NULL PRIMARY KEY,
    display TEXT NOT NULL DEFAULT '',
    hash TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    must_change INTEGER NOT NULL DEFAULT '1',
    totp TEXT NOT NULL DEFAULT '',
    totp_used INTEGER NOT NULL DEFAULT '0',
    failures INTEGER NOT NULL DEFAULT '0',
    wait_until INTEGER NOT NULL DEFAULT '0',
    since_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL DEFAULT '0',
    used_at INTEGER NOT NULL DEFAULT '0'
);

ALTER TABLE device ADD COLUMN people TEXT NOT NULL DEFAULT '';

ALTER TABLE audit ADD COLUMN study TEXT NOT NULL DEFAULT '';

ALTER TABLE audit ADD COLUMN patient TEXT NOT NULL DEFAULT '';

CREATE INDEX audit_by_study ON audit (study) WHERE study != '';

CREATE INDEX audit_by_patient ON audit (patient) WHERE patient != '';

CREATE TABLE audit_head (
    seq INTEGER NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    at INTEGER NOT NULL,
    signature TEXT NOT NULL,
    certificate TEXT NOT NULL
);

CREATE TABLE witness (
    site TEXT NOT NULL,
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL,
    at INTEGER NOT NULL,
    signature TEXT NOT NULL,
    certificate TEXT NOT NULL,
    via TEXT NOT NULL,
    heard_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (site, seq, hash)
) WITHOUT ROWID;

CREATE INDEX witness_by_state ON witness (site, state, seq);

CREATE TABLE audit_fault (
    site TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    kind TEXT NOT NULL,
    what TEXT NOT NULL DEFAULT '',
    found_at INTEGER NOT NULL,
    settled_at INTEGER NOT NULL DEFAULT '0',
    settled_by TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (site, first, last, kind)
) WITHOUT ROWID;

CREATE TABLE audit_sent (
    destination TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL DEFAULT '0',
    failed_at INTEGER NOT NULL DEFAULT '0',
    error TEXT NOT NULL DEFAULT ''
);
