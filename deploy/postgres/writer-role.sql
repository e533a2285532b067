-- The role that the writer logs in as. What it may do, `veilpost-writer migrate --grant-to veilpost_writer`
-- grants it.
--
-- For psql, as a superuser; WRITER_PASSWORD_FILE is the file with the password. May be run again: it then
-- sets the password.

\set ON_ERROR_STOP on
\set password `cat "$WRITER_PASSWORD_FILE"`

-- The password belongs into no log of the server.
SET log_statement = none;
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;

SELECT 'CREATE ROLE veilpost_writer LOGIN' WHERE to_regrole('veilpost_writer') IS NULL \gexec
ALTER ROLE veilpost_writer PASSWORD :'password';

-- So that the log does not quote the row that a constraint refuses.
SELECT :SERVER_VERSION_NUM >= 150000 AS has_parameter_grants \gset
\if :has_parameter_grants
GRANT SET ON PARAMETER log_error_verbosity TO veilpost_writer;
\endif

-- Everyone may make temporary tables by default, and before Postgres 15 tables in schema public.
SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()) \gexec
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
