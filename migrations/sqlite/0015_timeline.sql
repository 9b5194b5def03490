-- What an event did to the memberships of users: a change of a group names the group alone.
-- One row for each membership that was written, by the change that decided it. Goes with the event.

CREATE TABLE event_memberships (
    directory TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    group_id  TEXT NOT NULL,
    present   INTEGER NOT NULL,
    PRIMARY KEY (directory, user_id, seq, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_memberships_of_event ON event_memberships (seq);
