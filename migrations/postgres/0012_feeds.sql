-- What is fetched from a source, or dropped by it, rather than posted.

-- memory, consent: opaque JSON. Who holds a feed takes it in, and nobody else.
CREATE TABLE feeds (
    source  text COLLATE "C" PRIMARY KEY,
    holder  text NOT NULL,
    ends_at timestamptz NOT NULL,
    memory  text NOT NULL,
    consent text
) WITH (fillfactor = 50);

-- What a source itself has said of each record. seen: the last snapshot that named it. fingerprint: of
-- what was said last; empty where nothing of it was taken in. is_there: while the source says so.
CREATE TABLE feed_records (
    source      text COLLATE "C" NOT NULL,
    aspect      smallint NOT NULL,
    id          text COLLATE "C" NOT NULL,
    seen        bigint NOT NULL,
    fingerprint bytea NOT NULL,
    is_there    boolean NOT NULL,
    PRIMARY KEY (source, aspect, id)
) WITH (fillfactor = 80);
