-- Several sites: facts by subject, copies at other sites, members, what is fetched and how far.

ALTER TABLE journal ADD COLUMN subject TEXT DEFAULT '' NOT NULL;

UPDATE journal SET subject = coalesce(json_extract(payload, '$.uid'), json_extract(payload, '$.digest'), '');

CREATE INDEX journal_by_subject ON journal (subject);

CREATE INDEX journal_by_kind ON journal (kind, origin)
WHERE kind NOT IN ('instance', 'copies', 'compare', 'quarantine', 'settle');

ALTER TABLE instance ADD COLUMN stamp TEXT DEFAULT '' NOT NULL;

ALTER TABLE instance ADD COLUMN held INTEGER DEFAULT '1' NOT NULL;

UPDATE instance SET stamp = coalesce((
    SELECT min(printf('%016d %s %d %010d', at, origin, epoch, seq)) FROM journal
    WHERE journal.subject = instance.uid AND journal.kind = 'instance'
), '');

CREATE INDEX instance_by_digest ON instance (digest);

ALTER TABLE "conflict" ADD COLUMN stamp TEXT DEFAULT '' NOT NULL;

ALTER TABLE "conflict" ADD COLUMN held INTEGER DEFAULT '1' NOT NULL;

UPDATE "conflict" SET held = state != 'folded', stamp = coalesce((
    SELECT min(printf('%016d %s %d %010d', at, origin, epoch, seq)) FROM journal
    WHERE journal.subject = "conflict".instance AND journal.kind = 'instance'
        AND json_extract(payload, '$.digest') = "conflict".digest
), '');

CREATE INDEX conflict_by_digest ON "conflict" (digest);

ALTER TABLE series ADD COLUMN stamp TEXT DEFAULT '' NOT NULL;

UPDATE series SET stamp = coalesce((SELECT min(stamp) FROM instance WHERE instance.series = series.id), '');

ALTER TABLE study ADD COLUMN stamp TEXT DEFAULT '' NOT NULL;

ALTER TABLE study ADD COLUMN shown INTEGER DEFAULT '0' NOT NULL;

UPDATE study SET
    shown = patient,
    stamp = coalesce((SELECT min(stamp) FROM series WHERE series.study = study.id), '');

CREATE INDEX study_by_shown ON study (shown);

ALTER TABLE patient ADD COLUMN stamp TEXT DEFAULT '' NOT NULL;

ALTER TABLE patient ADD COLUMN merged INTEGER DEFAULT '0' NOT NULL;

UPDATE patient SET stamp = coalesce((SELECT min(stamp) FROM study WHERE study.patient = patient.id), '');

CREATE TABLE merging (
    patient_id TEXT NOT NULL,
    issuer TEXT NOT NULL,
    into_id TEXT NOT NULL,
    into_issuer TEXT NOT NULL,
    PRIMARY KEY (patient_id, issuer)
);

CREATE INDEX merging_by_into ON merging (into_id, into_issuer);

CREATE TABLE withdrawn (
    instance TEXT NOT NULL,
    digest TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL,
    size INTEGER NOT NULL,
    source TEXT DEFAULT '' NOT NULL,
    arrived_at INTEGER NOT NULL,
    stamp TEXT DEFAULT '' NOT NULL,
    study TEXT DEFAULT '' NOT NULL,
    traits TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (instance, digest)
);

CREATE INDEX withdrawn_by_digest ON withdrawn (digest);

CREATE TABLE replica (
    digest TEXT NOT NULL,
    site TEXT NOT NULL,
    instance TEXT NOT NULL,
    size INTEGER NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (digest, site)
);

CREATE INDEX replica_by_instance ON replica (instance);

CREATE INDEX replica_by_site ON replica (site, state, at);

CREATE TABLE want (
    digest TEXT NOT NULL,
    instance TEXT NOT NULL,
    size INTEGER NOT NULL,
    holder TEXT NOT NULL,
    urgency INTEGER NOT NULL,
    wanted_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    state TEXT NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (digest)
);

CREATE INDEX want_by_holder ON want (holder, state);

CREATE INDEX want_by_urgency ON want (state, urgency, wanted_at);

CREATE TABLE cursor (
    origin TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (origin, epoch)
);

CREATE TABLE gap (
    origin TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (origin, epoch, first)
);

CREATE TABLE member (
    site TEXT NOT NULL,
    descriptor TEXT NOT NULL,
    version INTEGER NOT NULL,
    url TEXT,
    ae_title TEXT DEFAULT '' NOT NULL,
    standing TEXT NOT NULL,
    introduced_by TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    export TEXT DEFAULT '' NOT NULL,
    accept TEXT DEFAULT '' NOT NULL,
    gives TEXT DEFAULT '' NOT NULL,
    takes TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (site)
);

CREATE TABLE member_certificate (
    fingerprint TEXT NOT NULL,
    site TEXT NOT NULL,
    pem TEXT NOT NULL,
    PRIMARY KEY (fingerprint)
);

CREATE INDEX member_certificate_by_site ON member_certificate (site);

CREATE TABLE contact (
    site TEXT NOT NULL,
    heard_at INTEGER DEFAULT '0' NOT NULL,
    head INTEGER DEFAULT '0' NOT NULL,
    epoch INTEGER DEFAULT '1' NOT NULL,
    terms INTEGER DEFAULT '0' NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    failed_at INTEGER DEFAULT '0' NOT NULL,
    heads TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (site)
);

CREATE TABLE invitation (
    id TEXT NOT NULL,
    site TEXT NOT NULL,
    secret TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    state TEXT NOT NULL,
    options TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE ticket (
    id TEXT NOT NULL,
    site TEXT NOT NULL,
    verb TEXT NOT NULL,
    digests TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    who TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ticket_by_expiry ON ticket (expires_at);

-- What two sites can compare: bytes that are here and, as the other site said, there. Triggers keep the
-- list in step with the rows that it follows from, whoever writes them, and its sums with the list.

CREATE TABLE common (
    site TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (site, digest)
) WITHOUT ROWID;

CREATE TABLE common_sum (
    site TEXT NOT NULL,
    part TEXT NOT NULL,
    count INTEGER DEFAULT '0' NOT NULL,
    low INTEGER DEFAULT '0' NOT NULL,
    middle INTEGER DEFAULT '0' NOT NULL,
    high INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (site, part)
) WITHOUT ROWID;

-- Three numbers of 44 bits in each digest, behind the four digits that name its part of the list.

CREATE VIEW common_number AS SELECT
    site,
    digest,
    substr(digest, 1, 4) AS part,
    (
        instr('123456789abcdef', substr(digest, 5, 1)) * 1099511627776 + instr('123456789abcdef', substr(digest, 6, 1)) * 68719476736
        + instr('123456789abcdef', substr(digest, 7, 1)) * 4294967296 + instr('123456789abcdef', substr(digest, 8, 1)) * 268435456
        + instr('123456789abcdef', substr(digest, 9, 1)) * 16777216 + instr('123456789abcdef', substr(digest, 10, 1)) * 1048576
        + instr('123456789abcdef', substr(digest, 11, 1)) * 65536 + instr('123456789abcdef', substr(digest, 12, 1)) * 4096
        + instr('123456789abcdef', substr(digest, 13, 1)) * 256 + instr('123456789abcdef', substr(digest, 14, 1)) * 16
        + instr('123456789abcdef', substr(digest, 15, 1)) * 1
    ) AS low,
    (
        instr('123456789abcdef', substr(digest, 16, 1)) * 1099511627776 + instr('123456789abcdef', substr(digest, 17, 1)) * 68719476736
        + instr('123456789abcdef', substr(digest, 18, 1)) * 4294967296 + instr('123456789abcdef', substr(digest, 19, 1)) * 268435456
        + instr('123456789abcdef', substr(digest, 20, 1)) * 16777216 + instr('123456789abcdef', substr(digest, 21, 1)) * 1048576
        + instr('123456789abcdef', substr(digest, 22, 1)) * 65536 + instr('123456789abcdef', substr(digest, 23, 1)) * 4096
        + instr('123456789abcdef', substr(digest, 24, 1)) * 256 + instr('123456789abcdef', substr(digest, 25, 1)) * 16
        + instr('123456789abcdef', substr(digest, 26, 1)) * 1
    ) AS middle,
    (
        instr('123456789abcdef', substr(digest, 27, 1)) * 1099511627776 + instr('123456789abcdef', substr(digest, 28, 1)) * 68719476736
        + instr('123456789abcdef', substr(digest, 29, 1)) * 4294967296 + instr('123456789abcdef', substr(digest, 30, 1)) * 268435456
        + instr('123456789abcdef', substr(digest, 31, 1)) * 16777216 + instr('123456789abcdef', substr(digest, 32, 1)) * 1048576
        + instr('123456789abcdef', substr(digest, 33, 1)) * 65536 + instr('123456789abcdef', substr(digest, 34, 1)) * 4096
        + instr('123456789abcdef', substr(digest, 35, 1)) * 256 + instr('123456789abcdef', substr(digest, 36, 1)) * 16
        + instr('123456789abcdef', substr(digest, 37, 1)) * 1
    ) AS high
FROM common;

CREATE TRIGGER common_insert AFTER INSERT ON common BEGIN
    INSERT INTO common_sum (site, part)
    SELECT new.site, substr(new.digest, 1, 4)
    WHERE NOT EXISTS (SELECT 1 FROM common_sum WHERE site = new.site AND part = substr(new.digest, 1, 4));
    UPDATE common_sum SET
        count = common_sum.count + 1,
        low = (common_sum.low + number.low) & 17592186044415,
        middle = (common_sum.middle + number.middle) & 17592186044415,
        high = (common_sum.high + number.high) & 17592186044415
    FROM common_number AS number
    WHERE number.site = new.site AND number.digest = new.digest
        AND common_sum.site = new.site AND common_sum.part = number.part;
END;

CREATE TRIGGER common_delete BEFORE DELETE ON common BEGIN
    UPDATE common_sum SET
        count = common_sum.count - 1,
        low = (common_sum.low - number.low) & 17592186044415,
        middle = (common_sum.middle - number.middle) & 17592186044415,
        high = (common_sum.high - number.high) & 17592186044415
    FROM common_number AS number
    WHERE number.site = old.site AND number.digest = old.digest
        AND common_sum.site = old.site AND common_sum.part = number.part;
END;

CREATE TRIGGER replica_insert_there AFTER INSERT ON replica WHEN new.state IN ('held', 'verified') BEGIN
    INSERT INTO common (site, digest)
    SELECT new.site, new.digest
    WHERE NOT EXISTS (SELECT 1 FROM common WHERE site = new.site AND digest = new.digest)
    AND (
        EXISTS (SELECT 1 FROM instance WHERE digest = new.digest AND held)
        OR EXISTS (SELECT 1 FROM "conflict" WHERE digest = new.digest AND held)
    );
END;

CREATE TRIGGER replica_insert_not_there AFTER INSERT ON replica WHEN new.state NOT IN ('held', 'verified') BEGIN
    DELETE FROM common WHERE site = new.site AND digest = new.digest;
END;

CREATE TRIGGER replica_update_there AFTER UPDATE OF state ON replica WHEN new.state IN ('held', 'verified') BEGIN
    INSERT INTO common (site, digest)
    SELECT new.site, new.digest
    WHERE NOT EXISTS (SELECT 1 FROM common WHERE site = new.site AND digest = new.digest)
    AND (
        EXISTS (SELECT 1 FROM instance WHERE digest = new.digest AND held)
        OR EXISTS (SELECT 1 FROM "conflict" WHERE digest = new.digest AND held)
    );
END;

CREATE TRIGGER replica_update_not_there AFTER UPDATE OF state ON replica WHEN new.state NOT IN ('held', 'verified') BEGIN
    DELETE FROM common WHERE site = new.site AND digest = new.digest;
END;

CREATE TRIGGER replica_delete AFTER DELETE ON replica BEGIN
    DELETE FROM common WHERE site = old.site AND digest = old.digest;
END;

CREATE TRIGGER instance_insert_here AFTER INSERT ON instance WHEN new.held BEGIN
    INSERT INTO common (site, digest)
    SELECT site, digest FROM replica
    WHERE digest = new.digest AND state IN ('held', 'verified')
    AND NOT EXISTS (SELECT 1 FROM common WHERE common.site = replica.site AND common.digest = replica.digest);
END;

CREATE TRIGGER instance_update_here AFTER UPDATE OF held, digest ON instance WHEN new.held BEGIN
    INSERT INTO common (site, digest)
    SELECT site, digest FROM replica
    WHERE digest = new.digest AND state IN ('held', 'verified')
    AND NOT EXISTS (SELECT 1 FROM common WHERE common.site = replica.site AND common.digest = replica.digest);
END;

CREATE TRIGGER instance_update_not_here AFTER UPDATE OF held, digest ON instance BEGIN
    DELETE FROM common
    WHERE digest = old.digest AND site IN (SELECT site FROM replica WHERE digest = old.digest)
    AND NOT (
        EXISTS (SELECT 1 FROM instance WHERE digest = old.digest AND held)
        OR EXISTS (SELECT 1 FROM "conflict" WHERE digest = old.digest AND held)
    );
END;

CREATE TRIGGER instance_delete AFTER DELETE ON instance BEGIN
    DELETE FROM common
    WHERE digest = old.digest AND site IN (SELECT site FROM replica WHERE digest = old.digest)
    AND NOT (
        EXISTS (SELECT 1 FROM instance WHERE digest = old.digest AND held)
        OR EXISTS (SELECT 1 FROM "conflict" WHERE digest = old.digest AND held)
    );
END;

CREATE TRIGGER conflict_insert_here AFTER INSERT ON "conflict" WHEN new.held BEGIN
    INSERT INTO common (site, digest)
    SELECT site, digest FROM replica
    WHERE digest = new.digest AND state IN ('held', 'verified')
    AND NOT EXISTS (SELECT 1 FROM common WHERE common.site = replica.site AND common.digest = replica.digest);
END;

CREATE TRIGGER conflict_update_here AFTER UPDATE OF held, digest ON "conflict" WHEN new.held BEGIN
    INSERT INTO common (site, digest)
    SELECT site, digest FROM replica
    WHERE digest = new.digest AND state IN ('held', 'verified')
    AND NOT EXISTS (SELECT 1 FROM common WHERE common.site = replica.site AND common.digest = replica.digest);
END;

CREATE TRIGGER conflict_update_not_here AFTER UPDATE OF held, digest ON "conflict" BEGIN
    DELETE FROM common
    WHERE digest = old.digest AND site IN (SELECT site FROM replica WHERE digest = old.digest)
    AND NOT (
        EXISTS (SELECT 1 FROM instance WHERE digest = old.digest AND held)
        OR EXISTS (SELECT 1 FROM "conflict" WHERE digest = old.digest AND held)
    );
END;

CREATE TRIGGER conflict_delete AFTER DELETE ON "conflict" BEGIN
    DELETE FROM common
    WHERE digest = old.digest AND site IN (SELECT site FROM replica WHERE digest = old.digest)
    AND NOT (
        EXISTS (SELECT 1 FROM instance WHERE digest = old.digest AND held)
        OR EXISTS (SELECT 1 FROM "conflict" WHERE digest = old.digest AND held)
    );
END;
