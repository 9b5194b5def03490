-- What an event did to the memberships of users: a change of a group names the group alone.
-- One row for each membership that was written, by the change that decided it. Goes with the event.

CREATE TABLE event_memberships (
    directory text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    seq       bigint NOT NULL,
    position  integer NOT NULL,
    group_id  text COLLATE "C" NOT NULL,
    present   boolean NOT NULL,
    PRIMARY KEY (directory, user_id, seq, position)
);

CREATE INDEX event_memberships_of_event ON event_memberships (seq);
