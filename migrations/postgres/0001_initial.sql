-- The same tables as on SQLite, with the same words as numbers: kind 0 user, 1 group; lane
-- 0 deprovision, 1 revoke, 2 change, 3 membership, 4 backfill; state of work 0 pending, 1 waiting,
-- 2 parked. Times are microseconds since the Unix epoch. Versions are bytes that sort as versions do.
-- Texts compare by their bytes, whatever the database's locale. JSON is kept as text: it is never
-- searched, and jsonb would refuse a character that JSON allows.

-- What came in ---------------------------------------------------------------------------------

CREATE TABLE events (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text COLLATE "C" NOT NULL,
    directory   text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    received_at bigint NOT NULL,
    body        bytea NOT NULL,
    -- By sender's id first, so that the index also finds an event by that alone.
    UNIQUE (event_id, source)
);

CREATE INDEX events_by_receipt ON events (received_at);

-- Events that are not merged yet, ahead of others those that end somebody's access (rank 0). Rows
-- come and go; whoever merges a batch locks its rows and passes over those that others have locked.
CREATE TABLE events_waiting (
    rank  smallint NOT NULL,
    seq   bigint NOT NULL,
    bytes integer NOT NULL,
    PRIMARY KEY (rank, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);

CREATE INDEX events_waiting_by_seq ON events_waiting (seq);

CREATE TABLE events_unreadable (
    seq    bigint PRIMARY KEY,
    reason text NOT NULL
);

CREATE TABLE event_changes (
    seq        bigint NOT NULL,
    position   integer NOT NULL,
    directory  text COLLATE "C" NOT NULL,
    kind       smallint NOT NULL,
    id         text COLLATE "C" NOT NULL,
    operation  text NOT NULL,
    outcome    text NOT NULL,
    generation bigint NOT NULL,
    PRIMARY KEY (seq, position)
);

CREATE INDEX event_changes_of_resource ON event_changes (directory, kind, id, generation);

-- What should be -------------------------------------------------------------------------------

-- One row a directory. Its lock is held while events are merged into the directory and while a target
-- begins to follow it, so that generations and sequences are given in the order of their commits.
CREATE TABLE directories (name text COLLATE "C" PRIMARY KEY);

CREATE TABLE users (
    directory  text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    has_access boolean NOT NULL,
    deleted_at bytea,
    body       text NOT NULL,
    gone_since bytea,
    PRIMARY KEY (directory, id)
) WITH (fillfactor = 80);

-- gone_since: the version of the deletion, of what is gone now. Old tombstones are found by it.
CREATE INDEX users_gone ON users (gone_since) WHERE gone_since IS NOT NULL;

CREATE TABLE groups (
    directory       text COLLATE "C" NOT NULL,
    id              text COLLATE "C" NOT NULL,
    generation      bigint NOT NULL,
    member_sequence bigint NOT NULL,
    is_deleted      boolean NOT NULL,
    body            text NOT NULL,
    gone_since      bytea,
    PRIMARY KEY (directory, id)
) WITH (fillfactor = 80);

CREATE INDEX groups_gone ON groups (gone_since) WHERE gone_since IS NOT NULL;

CREATE TABLE members (
    directory text COLLATE "C" NOT NULL,
    group_id  text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    present   boolean NOT NULL,
    sequence  bigint NOT NULL,
    version   bytea NOT NULL,
    PRIMARY KEY (directory, group_id, user_id)
);

CREATE INDEX members_in_order ON members (directory, group_id, sequence) INCLUDE (user_id, present);
CREATE INDEX members_of_user ON members (directory, user_id) WHERE present;
CREATE INDEX members_ended ON members (version) WHERE NOT present;

-- What is to do --------------------------------------------------------------------------------

-- Its row's lock is held by whoever changes the work, links, waits and parked members of the target.
CREATE TABLE targets (
    name      text COLLATE "C" PRIMARY KEY,
    directory text COLLATE "C" NOT NULL,
    enrolled  boolean NOT NULL,
    state     text NOT NULL,
    memory    text NOT NULL
) WITH (fillfactor = 50);

-- Apart from the targets, so that a renewal waits for no merge. Terms run by the database's clock.
CREATE TABLE leases (
    target  text COLLATE "C" PRIMARY KEY,
    holder  text NOT NULL,
    epoch   bigint NOT NULL,
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE replicas (
    name    text COLLATE "C" PRIMARY KEY,
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- woken: somebody whom the resource waits for was linked since it was last committed.
CREATE TABLE work (
    target     text COLLATE "C" NOT NULL,
    kind       smallint NOT NULL,
    id         text COLLATE "C" NOT NULL,
    lane       smallint NOT NULL,
    state      smallint NOT NULL,
    due        bigint NOT NULL,
    since      bigint NOT NULL,
    attempts   integer NOT NULL,
    generation bigint NOT NULL,
    failed_at  bigint,
    parked_at  bigint,
    intent     text,
    reason     text,
    woken      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (target, kind, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);

CREATE INDEX work_in_order ON work (target, state, lane, due, kind, id) INCLUDE (since);

-- Links with a NULL vendor_id were looked for and not found.
CREATE TABLE links (
    target            text COLLATE "C" NOT NULL,
    kind              smallint NOT NULL,
    id                text COLLATE "C" NOT NULL,
    vendor_id         text COLLATE "C",
    checked_at        bigint,
    etag              text,
    synced_generation bigint NOT NULL,
    synced_members    bigint NOT NULL,
    applied           text NOT NULL,
    PRIMARY KEY (target, kind, id)
) WITH (fillfactor = 80);

CREATE INDEX links_of_vendor ON links (target, kind, vendor_id) WHERE vendor_id IS NOT NULL;

-- Who waits for a user's link: a group for a member, a user for its manager. ready: the link is there.
CREATE TABLE waits (
    target  text COLLATE "C" NOT NULL,
    kind    smallint NOT NULL,
    id      text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    ready   boolean NOT NULL,
    PRIMARY KEY (target, kind, id, user_id)
);

CREATE INDEX waits_for_user ON waits (target, user_id);
CREATE INDEX waits_ready ON waits (target, kind, id) WHERE ready;

CREATE TABLE parked_members (
    target    text COLLATE "C" NOT NULL,
    group_id  text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    reason    text NOT NULL,
    parked_at bigint NOT NULL,
    PRIMARY KEY (target, group_id, user_id)
);

-- What was done --------------------------------------------------------------------------------

-- The events that led to an entry are those whose changes lie after base_generation, up to generation.
CREATE TABLE ledger (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              bigint NOT NULL,
    target          text COLLATE "C" NOT NULL,
    directory       text COLLATE "C" NOT NULL,
    kind            smallint NOT NULL,
    id              text COLLATE "C" NOT NULL,
    generation      bigint NOT NULL,
    base_generation bigint NOT NULL,
    operation       text NOT NULL,
    call            text,
    status          integer,
    result          text NOT NULL,
    etag_before     text,
    etag_after      text,
    elapsed_us      bigint,
    detail          text
);

CREATE INDEX ledger_of_resource ON ledger (kind, id, seq);
CREATE INDEX ledger_by_time ON ledger (at);
