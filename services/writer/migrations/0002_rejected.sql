-- The keys of rejected messages are in the ledger too, with the number of the reason (veilpost.v1.Reason); NULL
-- means that the message is stored. So a stored message is never rejected, and a rejected one is never stored.
-- NULL takes no room, and adding the column rewrites nothing.

ALTER TABLE veilpost.ledger ADD COLUMN rejected smallint;
