-- One node that archives: patients to instances, journal, audit, jobs, devices, quarantine.

CREATE TABLE audit (
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    deed TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (seq)
);

CREATE TABLE "conflict" (
    instance TEXT NOT NULL,
    digest TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL,
    size INTEGER NOT NULL,
    source TEXT DEFAULT '' NOT NULL,
    arrived_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (instance, digest)
);

CREATE TABLE device (
    ae_title TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    may TEXT NOT NULL,
    certificate TEXT,
    PRIMARY KEY (ae_title)
);

CREATE TABLE job (
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    "key" TEXT NOT NULL,
    payload TEXT DEFAULT '' NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (kind, "key")
);

CREATE INDEX job_by_due ON job (state, due_at);

CREATE TABLE journal (
    origin TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (origin, epoch, seq)
);

CREATE TABLE knock (
    ae_title TEXT NOT NULL,
    address TEXT NOT NULL,
    called TEXT DEFAULT '' NOT NULL,
    asked TEXT DEFAULT '' NOT NULL,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (ae_title, address)
);

CREATE TABLE node (
    origin TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (origin)
);

CREATE TABLE patient (
    id INTEGER NOT NULL,
    issuer TEXT DEFAULT '' NOT NULL,
    patient_id TEXT DEFAULT '' NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    name_folded TEXT DEFAULT '' NOT NULL,
    birth_date TEXT DEFAULT '' NOT NULL,
    sex TEXT DEFAULT '' NOT NULL,
    more TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (patient_id, issuer)
);

CREATE INDEX patient_by_birth_date ON patient (birth_date);

CREATE INDEX patient_by_name ON patient (name_folded);

CREATE TABLE quarantine (
    digest TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    source TEXT DEFAULT '' NOT NULL,
    size INTEGER NOT NULL,
    transfer_syntax TEXT DEFAULT '' NOT NULL,
    arrived_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (digest)
);

CREATE TABLE study (
    id INTEGER NOT NULL,
    uid TEXT NOT NULL,
    patient INTEGER NOT NULL,
    date TEXT DEFAULT '' NOT NULL,
    time TEXT DEFAULT '' NOT NULL,
    accession TEXT DEFAULT '' NOT NULL,
    study_id TEXT DEFAULT '' NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    referring TEXT DEFAULT '' NOT NULL,
    referring_folded TEXT DEFAULT '' NOT NULL,
    modalities TEXT DEFAULT '' NOT NULL,
    more TEXT DEFAULT '' NOT NULL,
    series_count INTEGER DEFAULT '0' NOT NULL,
    instance_count INTEGER DEFAULT '0' NOT NULL,
    bytes INTEGER DEFAULT '0' NOT NULL,
    arrived_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (uid, patient),
    FOREIGN KEY(patient) REFERENCES patient (id)
);

CREATE INDEX study_by_accession ON study (accession);

CREATE INDEX study_by_date ON study (date, time);

CREATE INDEX study_by_patient ON study (patient);

CREATE INDEX study_by_study_id ON study (study_id);

CREATE TABLE series (
    id INTEGER NOT NULL,
    uid TEXT NOT NULL,
    study INTEGER NOT NULL,
    modality TEXT DEFAULT '' NOT NULL,
    number TEXT DEFAULT '' NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    body_part TEXT DEFAULT '' NOT NULL,
    date TEXT DEFAULT '' NOT NULL,
    time TEXT DEFAULT '' NOT NULL,
    more TEXT DEFAULT '' NOT NULL,
    instance_count INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (uid, study),
    FOREIGN KEY(study) REFERENCES study (id)
);

CREATE INDEX series_by_date ON series (date);

CREATE INDEX series_by_study ON series (study);

CREATE TABLE study_modality (
    modality TEXT NOT NULL,
    study INTEGER NOT NULL,
    PRIMARY KEY (modality, study),
    FOREIGN KEY(study) REFERENCES study (id)
);

CREATE INDEX study_modality_by_study ON study_modality (study);

CREATE TABLE instance (
    id INTEGER NOT NULL,
    uid TEXT NOT NULL,
    series INTEGER NOT NULL,
    sop_class TEXT NOT NULL,
    number TEXT DEFAULT '' NOT NULL,
    more TEXT DEFAULT '' NOT NULL,
    transfer_syntax TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    arrived_at INTEGER NOT NULL,
    source TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (uid),
    FOREIGN KEY(series) REFERENCES series (id)
);

CREATE INDEX instance_by_series ON instance (series);

-- Names cut into trigrams, so that `*cerm*kat*` need not read every patient.
CREATE VIRTUAL TABLE patient_name USING fts5(
    name_folded, content = 'patient', content_rowid = 'id', tokenize = 'trigram'
);

CREATE TRIGGER patient_name_insert AFTER INSERT ON patient BEGIN
    INSERT INTO patient_name (rowid, name_folded) VALUES (new.id, new.name_folded);
END;

CREATE TRIGGER patient_name_delete AFTER DELETE ON patient BEGIN
    INSERT INTO patient_name (patient_name, rowid, name_folded) VALUES ('delete', old.id, old.name_folded);
END;

CREATE TRIGGER patient_name_update AFTER UPDATE OF name_folded ON patient BEGIN
    INSERT INTO patient_name (patient_name, rowid, name_folded) VALUES ('delete', old.id, old.name_folded);
    INSERT INTO patient_name (rowid, name_folded) VALUES (new.id, new.name_folded);
END;
