-- What is fetched from a source, or dropped by it, rather than posted.

-- memory, consent: opaque JSON. Who holds a feed takes it in, and nobody else.
CREATE TABLE feeds (
    source  TEXT NOT NULL PRIMARY KEY,
    holder  TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    memory  TEXT NOT NULL,
    consent TEXT
) STRICT;

-- What a source itself has said of each record. seen: the last snapshot that named it. fingerprint: of
-- what was said last; empty where nothing of it was taken in. is_there: 1 while the source says so.
CREATE TABLE feed_records (
    source      TEXT NOT NULL,
    aspect      INTEGER NOT NULL,
    id          TEXT NOT NULL,
    seen        INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    is_there    INTEGER NOT NULL,
    PRIMARY KEY (source, aspect, id)
) STRICT, WITHOUT ROWID;
