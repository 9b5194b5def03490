-- Words are stored as numbers. kind: 0 user, 1 group. lane: 0 deprovision, 1 revoke, 2 change,
-- 3 membership, 4 backfill. state of work: 0 pending, 1 waiting, 2 parked.
-- Times are microseconds since the Unix epoch. Versions are bytes that sort as versions do.

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- projected: every event up to this one is dealt with. batch: how many batches were projected.
-- forgotten: about the last event whose id need not be known any more.
INSERT INTO counters (name, value) VALUES ('projected', 0), ('batch', 0), ('forgotten', 0), ('ping', 0);

-- What came in ---------------------------------------------------------------------------------

-- Append-only. The body stands last, so that reading the other columns touches no overflow page.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    directory   TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    body        BLOB NOT NULL
) STRICT;

-- What the set of known ids is rebuilt from. No index on id: it would double the cost of an append.
CREATE TABLE event_ids (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sources (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Events to be merged ahead of their turn. rank: 0 ends somebody's access, 1 is tried again.
CREATE TABLE events_ahead (
    rank INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (rank, seq)
) STRICT, WITHOUT ROWID;

-- Events past counters.projected that are dealt with.
CREATE TABLE events_done_early (seq INTEGER PRIMARY KEY) STRICT;

CREATE TABLE events_unreadable (
    seq    INTEGER PRIMARY KEY,
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE event_changes (
    seq        INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    directory  TEXT NOT NULL,
    kind       INTEGER NOT NULL,
    id         TEXT NOT NULL,
    operation  TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (seq, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_changes_of_resource ON event_changes (directory, kind, id, generation);

-- What should be -------------------------------------------------------------------------------

-- body is JSON; the other columns repeat or complete it where a query needs them.
CREATE TABLE users (
    directory  TEXT NOT NULL,
    id         TEXT NOT NULL,
    generation INTEGER NOT NULL,
    has_access INTEGER NOT NULL,
    deleted_at BLOB,
    body       TEXT NOT NULL,
    PRIMARY KEY (directory, id)
) STRICT;

CREATE TABLE groups (
    directory       TEXT NOT NULL,
    id              TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    member_sequence INTEGER NOT NULL,
    is_deleted      INTEGER NOT NULL,
    body            TEXT NOT NULL,
    PRIMARY KEY (directory, id)
) STRICT;

CREATE TABLE members (
    directory TEXT NOT NULL,
    group_id  TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    present   INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    version   BLOB NOT NULL,
    PRIMARY KEY (directory, group_id, user_id)
) STRICT, WITHOUT ROWID;

-- Holds all that sending memberships needs, so that no row is read.
CREATE INDEX members_in_order ON members (directory, group_id, sequence, user_id, present);
CREATE INDEX members_of_user ON members (directory, user_id) WHERE present = 1;

-- What is to do --------------------------------------------------------------------------------

CREATE TABLE targets (
    name      TEXT PRIMARY KEY,
    directory TEXT NOT NULL,
    enrolled  INTEGER NOT NULL,
    state     TEXT NOT NULL,
    memory    TEXT NOT NULL,
    holder    TEXT NOT NULL,
    epoch     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- woken: somebody whom the resource waits for was linked since it was last committed.
CREATE TABLE work (
    target     TEXT NOT NULL,
    kind       INTEGER NOT NULL,
    id         TEXT NOT NULL,
    lane       INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    due        INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    failed_at  INTEGER,
    parked_at  INTEGER,
    intent     TEXT,
    reason     TEXT,
    woken      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (target, kind, id)
) STRICT, WITHOUT ROWID;

-- Serves both the dispatcher, in order of due time, and the counts.
CREATE INDEX work_in_order ON work (target, state, lane, due, kind, id, since);

-- Links with a NULL vendor_id were looked for and not found.
CREATE TABLE links (
    target            TEXT NOT NULL,
    kind              INTEGER NOT NULL,
    id                TEXT NOT NULL,
    vendor_id         TEXT,
    checked_at        INTEGER,
    etag              TEXT,
    synced_generation INTEGER NOT NULL,
    synced_members    INTEGER NOT NULL,
    applied           TEXT NOT NULL,
    PRIMARY KEY (target, kind, id)
) STRICT;

CREATE INDEX links_of_vendor ON links (target, kind, vendor_id) WHERE vendor_id IS NOT NULL;

-- Who waits for a user's link: a group for a member, a user for its manager. ready: the link is there.
CREATE TABLE waits (
    target  TEXT NOT NULL,
    kind    INTEGER NOT NULL,
    id      TEXT NOT NULL,
    user_id TEXT NOT NULL,
    ready   INTEGER NOT NULL,
    PRIMARY KEY (target, kind, id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX waits_for_user ON waits (target, user_id);
CREATE INDEX waits_ready ON waits (target, kind, id) WHERE ready = 1;

CREATE TABLE parked_members (
    target    TEXT NOT NULL,
    group_id  TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    parked_at INTEGER NOT NULL,
    PRIMARY KEY (target, group_id, user_id)
) STRICT, WITHOUT ROWID;

-- What was done --------------------------------------------------------------------------------

-- The events that led to an entry are those whose changes lie after base_generation, up to generation.
CREATE TABLE ledger (
    seq             INTEGER PRIMARY KEY,
    at              INTEGER NOT NULL,
    target          TEXT NOT NULL,
    directory       TEXT NOT NULL,
    kind            INTEGER NOT NULL,
    id              TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    base_generation INTEGER NOT NULL,
    operation       TEXT NOT NULL,
    call            TEXT,
    status          INTEGER,
    result          TEXT NOT NULL,
    etag_before     TEXT,
    etag_after      TEXT,
    elapsed_us      INTEGER,
    detail          TEXT
) STRICT;

CREATE INDEX ledger_of_resource ON ledger (kind, id);
