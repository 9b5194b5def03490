-- When a membership ended as far as its age goes: by its version, or when the relay heard of it if that was
-- later. A deletion may say that it happened years ago, and still keeps out what was said before it.

ALTER TABLE members ADD COLUMN ended_since BLOB;

UPDATE members SET ended_since = version WHERE present = 0;

DROP INDEX members_ended;
CREATE INDEX members_ended ON members (ended_since) WHERE present = 0;
