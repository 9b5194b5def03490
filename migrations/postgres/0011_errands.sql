-- What sources are to be asked, one row per thing, and what is remembered of them.

CREATE TABLE errands (
    source       text COLLATE "C" NOT NULL,
    kind         smallint NOT NULL, -- 0 a user, 1 a group, 2 what was missed, 3 the subscription
    id           text COLLATE "C" NOT NULL, -- empty where the kind says all
    wanted       bigint NOT NULL, -- how often; a run that began before the last time leaves the row
    since        bigint NOT NULL,
    due          bigint NOT NULL,
    busy_until   bigint NOT NULL, -- somebody runs it until then
    attempts     integer NOT NULL,
    absent_since bigint,           -- when the source first said that there is no such record
    failure      text,
    PRIMARY KEY (source, kind, id)
);

CREATE INDEX errands_due ON errands (source, due);

CREATE TABLE source_memories (
    source text COLLATE "C" NOT NULL,
    part   text COLLATE "C" NOT NULL,
    value  text NOT NULL,
    PRIMARY KEY (source, part)
);
