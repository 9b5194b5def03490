-- Resyncs: what is wanted and how far it is, what was seen at the vendor, and what was found.
-- part: 0 a vendor's user, 1 a vendor's group, 2 a finding.

CREATE TABLE resyncs (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id        text COLLATE "C" NOT NULL UNIQUE,
    target    text COLLATE "C" NOT NULL,
    at        bigint NOT NULL,
    ended     boolean NOT NULL DEFAULT false,
    cancelled boolean NOT NULL DEFAULT false,
    body      text NOT NULL
);

CREATE INDEX resyncs_of_target ON resyncs (target, seq);
CREATE UNIQUE INDEX resyncs_under_way ON resyncs (target) WHERE NOT ended;

CREATE TABLE resync_rows (
    resync      text COLLATE "C" NOT NULL,
    part        smallint NOT NULL,
    name        text COLLATE "C" NOT NULL,
    external_id text COLLATE "C",
    match_value text COLLATE "C",
    claimed     boolean NOT NULL,
    body        text NOT NULL,
    PRIMARY KEY (resync, part, name)
);

CREATE INDEX resync_rows_by_external_id ON resync_rows (resync, part, external_id)
    WHERE external_id IS NOT NULL;
CREATE INDEX resync_rows_by_match_value ON resync_rows (resync, part, match_value)
    WHERE match_value IS NOT NULL;
