//! Which privileges the writer's role lacks.

use super::Table;
use crate::database::{DbError, Session, within};

/// What the role needs and does not have, as GRANT names it. Nothing is looked up by name, which would itself
/// need a privilege. A role that may fill only some columns of the table is enough.
const MISSING: &str = "
    SELECT current_user::text, string_agg(needed.what, '; ' ORDER BY needed.what)
    FROM (
        SELECT 'USAGE ON SCHEMA ' || quote_ident(n.nspname) AS what, has_schema_privilege(n.oid, 'USAGE') AS held
        FROM pg_namespace n WHERE n.nspname IN ('veilpost', $2)
      UNION ALL
        SELECT 'INSERT ON TABLE ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname),
               has_any_column_privilege(c.oid, 'INSERT')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::bigint::oid
      UNION ALL
        SELECT p.privilege || ' ON TABLE veilpost.' || c.relname, has_table_privilege(c.oid, p.privilege)
        FROM pg_class c JOIN (VALUES ('p', 'INSERT'), ('p', 'SELECT'), ('r', 'SELECT'), ('r', 'TRUNCATE')) p(kind, privilege)
            ON c.relkind::text = p.kind
        WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'veilpost') AND c.relname ~ '^ledger(_[0-9]+)?$'
      UNION ALL
        SELECT 'EXECUTE ON FUNCTION veilpost.input_error', has_function_privilege(p.oid, 'EXECUTE')
        FROM pg_proc p WHERE p.proname = 'input_error'
         AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'veilpost')
      UNION ALL
        SELECT 'USAGE ON SEQUENCE ' || quote_ident(n.nspname) || '.' || quote_ident(s.relname),
               CASE s.relkind WHEN 'S' THEN has_sequence_privilege(s.oid, 'USAGE') ELSE true END
        FROM pg_attrdef a
        JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
        JOIN pg_namespace n ON n.oid = s.relnamespace
        WHERE a.adrelid = $1::bigint::oid
    ) needed WHERE NOT needed.held";

/// Says what the role lacks, and who can grant it; None when it has everything.
pub(crate) async fn missing_privileges(
    session: &mut Session,
    table: &Table,
) -> Result<Option<String>, DbError> {
    let deadline = session.deadline();
    session.begin_apart().await?;
    let missing = sqlx::query_as(MISSING).bind(i64::from(table.oid)).bind(&table.schema);
    let missing = within(deadline, missing.fetch_one(session.connection())).await;
    let (role, missing): (String, Option<String>) = session.end_apart(missing).await?;
    let Table { schema, name, .. } = table;
    Ok(missing.map(|missing| {
        format!(
            "role {role} lacks: {missing}. The owner grants it with \
             `veilpost-writer migrate --table {schema}.{name} --grant-to {role}`"
        )
    }))
}
