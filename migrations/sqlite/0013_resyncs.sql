-- Resyncs: what is wanted and how far it is, what was seen at the vendor, and what was found.
-- part: 0 a vendor's user, 1 a vendor's group, 2 a finding.

CREATE TABLE resyncs (
    seq       INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    target    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    ended     INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    body      TEXT NOT NULL
) STRICT;

CREATE INDEX resyncs_of_target ON resyncs (target, seq);
CREATE UNIQUE INDEX resyncs_under_way ON resyncs (target) WHERE ended = 0;

CREATE TABLE resync_rows (
    resync      TEXT NOT NULL,
    part        INTEGER NOT NULL,
    name        TEXT NOT NULL,
    external_id TEXT,
    match_value TEXT,
    claimed     INTEGER NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (resync, part, name)
) STRICT;

CREATE INDEX resync_rows_by_external_id ON resync_rows (resync, part, external_id)
    WHERE external_id IS NOT NULL;
CREATE INDEX resync_rows_by_match_value ON resync_rows (resync, part, match_value)
    WHERE match_value IS NOT NULL;
