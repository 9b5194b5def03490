-- What sources are to be asked, one row per thing, and what is remembered of them.

CREATE TABLE errands (
    source       TEXT    NOT NULL,
    kind         INTEGER NOT NULL, -- 0 a user, 1 a group, 2 what was missed, 3 the subscription
    id           TEXT    NOT NULL, -- empty where the kind says all
    wanted       INTEGER NOT NULL, -- how often; a run that began before the last time leaves the row
    since        INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    busy_until   INTEGER NOT NULL, -- somebody runs it until then
    attempts     INTEGER NOT NULL,
    absent_since INTEGER,          -- when the source first said that there is no such record
    failure      TEXT,
    PRIMARY KEY (source, kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX errands_due ON errands (source, due);

CREATE TABLE source_memories (
    source TEXT NOT NULL,
    part   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (source, part)
) STRICT, WITHOUT ROWID;
