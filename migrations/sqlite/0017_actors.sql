-- Who did by hand what the ledger tells; NULL where the relay did it by itself.
-- kind of ledger: 0 user, 1 group, 2 the target itself, whose entries have an empty id.

ALTER TABLE ledger ADD COLUMN actor TEXT;

CREATE INDEX ledger_of_target ON ledger (target);
CREATE INDEX ledger_by_time ON ledger (at);

-- How often a sender repeated an event that was known; one row for each event that was.
CREATE TABLE event_repeats (
    source   TEXT NOT NULL,
    event_id TEXT NOT NULL,
    times    INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    PRIMARY KEY (source, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_repeats_by_time ON event_repeats (last_at);

-- What a person's or a group's story tells of holds, and what is past its retention.
CREATE INDEX hold_items_of_key ON hold_items (id, kind, seq);
CREATE INDEX hold_items_of_user ON hold_items (user_id, seq) WHERE kind = 2;
CREATE INDEX hold_items_of_hold ON hold_items (hold, seq);
CREATE INDEX guard_passed_by_time ON guard_passed (at);
CREATE INDEX holds_closed ON holds (closed_at) WHERE closed_at IS NOT NULL;
