-- What tombstones are found by once they are old: the version of the deletion, of what is gone now.

ALTER TABLE users ADD COLUMN gone_since BLOB;
ALTER TABLE groups ADD COLUMN gone_since BLOB;

CREATE INDEX users_gone ON users (gone_since) WHERE gone_since IS NOT NULL;
CREATE INDEX groups_gone ON groups (gone_since) WHERE gone_since IS NOT NULL;
CREATE INDEX members_ended ON members (version) WHERE present = 0;

UPDATE users SET gone_since = deleted_at WHERE json_extract(body, '$.existence.value') = 'deleted';
