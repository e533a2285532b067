-- The same function, whatever is on the caller's search path. It has no search path of its own: an input function, and
-- the check of a domain, may depend on the one that the values are stored with.
CREATE OR REPLACE FUNCTION veilpost.input_error(value pg_catalog.text, type pg_catalog.oid, typmod pg_catalog.int4)
RETURNS pg_catalog.text
LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    EXECUTE pg_catalog.format('SELECT CAST($1 AS %s)'::pg_catalog.text, pg_catalog.format_type($2, $3)) USING $1;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
