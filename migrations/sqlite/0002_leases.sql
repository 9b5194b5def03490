-- Who dispatches what. One process opens a file, so both are void at each start.

ALTER TABLE targets ADD COLUMN lease_ends_at INTEGER NOT NULL DEFAULT 0;

CREATE TABLE replicas (
    name    TEXT PRIMARY KEY,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
