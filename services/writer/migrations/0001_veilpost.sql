-- What Veilpost keeps for itself. The first edition of this file also made the default table; its checksum is kept, so
-- that both editions are the same migration.

CREATE SCHEMA IF NOT EXISTS veilpost;

-- The keys of the messages that are stored. A key is 48 bits of sent time in milliseconds and 80 bits of SHA-256 over
-- pipeline and message id. A slot is the UTC day of sending modulo 18; it is truncated once its day is past any redelivery.
-- A key tells its slot, so that it is unique in all slots when it is in its own; an index without the slot is a fifth smaller.
CREATE TABLE veilpost.ledger (
    slot smallint NOT NULL,
    key  uuid     NOT NULL
) PARTITION BY LIST (slot);

DO $$
BEGIN
    FOR slot IN 0..17 LOOP
        EXECUTE format(
            'CREATE TABLE veilpost.ledger_%s PARTITION OF veilpost.ledger (PRIMARY KEY (key)) FOR VALUES IN (%s)', slot, slot);
    END LOOP;
END
$$;

-- The SQLSTATE with which the type refuses the value, or NULL when it takes it. What is caught here does not reach
-- Postgres's own log, which would quote the value.
CREATE FUNCTION veilpost.input_error(value text, type oid, typmod integer) RETURNS text
LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    EXECUTE format('SELECT CAST($1 AS %s)', format_type(type, typmod)) USING value;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
