-- lost: the vendor has forgotten an account that was a member of the group since the row was last
-- committed, so that a call under way may have told of one that is no more.

ALTER TABLE work ADD COLUMN lost boolean NOT NULL DEFAULT false;
