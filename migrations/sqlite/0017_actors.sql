-- Who did by hand what the ledger tells; NULL where the relay did it by itself.
-- kind of ledger: 0 user, 1 group, 2 the target itself, whose entries have an empty id.

ALTER TABLE ledger ADD COLUMN actor TEXT;

CREATE INDEX ledger_of_target ON ledger (target);
CREATE INDEX ledger_by_time ON ledger (at);
