-- Destructive changes that a guard lets through, and those that wait for a person.
-- state of work: 3 waits for a decision. state of hold_items: 0 held, 1 approved, 2 rejected, 3 withdrawn.
-- kind of hold_items and guard_passed: 0 user, 1 group, 2 the member user_id of the group id.

-- What went through, once a resource, to be counted over a window.
CREATE TABLE guard_passed (
    target  TEXT NOT NULL,
    kind    INTEGER NOT NULL,
    id      TEXT NOT NULL,
    user_id TEXT NOT NULL DEFAULT '',
    meter   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (target, kind, id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX guard_passed_in_order ON guard_passed (target, meter, at);

CREATE TABLE holds (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    target     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    closed_at  INTEGER
) STRICT;

CREATE INDEX holds_of_target ON holds (target, id);

-- generation: of the resource, or the sequence of the membership, that the item speaks of.
CREATE TABLE hold_items (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    hold       INTEGER NOT NULL,
    target     TEXT NOT NULL,
    kind       INTEGER NOT NULL,
    id         TEXT NOT NULL,
    user_id    TEXT NOT NULL DEFAULT '',
    operation  TEXT NOT NULL,
    generation INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    held_at    INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT
) STRICT;

CREATE UNIQUE INDEX hold_items_of_resource ON hold_items (target, kind, id, user_id, hold);
CREATE INDEX hold_items_in_order ON hold_items (hold, state, seq);
CREATE INDEX hold_items_waiting ON hold_items (target, kind, user_id) WHERE state = 0;
