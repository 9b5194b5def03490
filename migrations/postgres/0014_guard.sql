-- Destructive changes that a guard lets through, and those that wait for a person.
-- state of work: 3 waits for a decision. state of hold_items: 0 held, 1 approved, 2 rejected, 3 withdrawn.
-- kind of hold_items and guard_passed: 0 user, 1 group, 2 the member user_id of the group id.

-- What went through, once a resource, to be counted over a window.
CREATE TABLE guard_passed (
    target  text COLLATE "C" NOT NULL,
    kind    smallint NOT NULL,
    id      text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL DEFAULT '',
    meter   smallint NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (target, kind, id, user_id)
);

CREATE INDEX guard_passed_in_order ON guard_passed (target, meter, at);

CREATE TABLE holds (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     text COLLATE "C" NOT NULL,
    reason     text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    closed_at  bigint
);

CREATE INDEX holds_of_target ON holds (target, id);

-- generation: of the resource, or the sequence of the membership, that the item speaks of.
CREATE TABLE hold_items (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hold       bigint NOT NULL,
    target     text COLLATE "C" NOT NULL,
    kind       smallint NOT NULL,
    id         text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL DEFAULT '',
    operation  text NOT NULL,
    generation bigint NOT NULL,
    state      smallint NOT NULL,
    held_at    bigint NOT NULL,
    decided_at bigint,
    decided_by text
);

CREATE UNIQUE INDEX hold_items_of_resource ON hold_items (target, kind, id, user_id, hold);
CREATE INDEX hold_items_in_order ON hold_items (hold, state, seq);
CREATE INDEX hold_items_waiting ON hold_items (target, kind, user_id) WHERE state = 0;
