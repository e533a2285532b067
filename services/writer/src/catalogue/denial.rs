//! Which privilege a statement lacked. Postgres names the object in a text only, which triggers can write as
//! well, so nothing of that text is shown: names of the catalogue are looked for in it.

use super::Table;
use super::privileges::missing_privileges;
use crate::database::{DbError, QueryOf, ServerError, Session, within};

/// The privileges on columns that the role lacks, of those that are given.
const COLUMNS: &str = "
    SELECT current_user::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
           (SELECT string_agg(lacking.what, ', ' ORDER BY lacking.what) FROM (
                SELECT needed.privilege || ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' AS what
                FROM unnest($2::text[], $3::text[]) needed(privilege, name)
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname::text = needed.name AND a.attnum > 0
                WHERE NOT has_column_privilege(c.oid, a.attnum, needed.privilege)
                GROUP BY needed.privilege) lacking),
           row_security_active(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::bigint::oid";

/// What the table's triggers call.
const TRIGGERS: &str = "
    SELECT string_agg(format('%I (function %s)', t.tgname, t.tgfoid::regprocedure), ', ' ORDER BY t.tgname)
    FROM pg_trigger t
    WHERE t.tgrelid = $1::bigint::oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 4 = 4";

/// Every object on which one of the roles lacks something: this role, the owners of trigger functions that
/// run with their owner's rights, and the table's owner, with whose rights foreign keys are checked.
const LACKING: &str = "
    SELECT role.name, object.kind, object.shown, object.bare, object.lacks, owner.rolname::text
    FROM (
        SELECT r.oid, r.rolname::text AS name FROM pg_roles r
        WHERE r.rolname = current_user
           OR r.oid IN (SELECT p.proowner FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                        WHERE t.tgrelid = $1::bigint::oid AND NOT t.tgisinternal AND p.prosecdef)
           OR r.oid IN (SELECT c.relowner FROM pg_class c JOIN pg_constraint f ON f.conrelid = c.oid
                        WHERE c.oid = $1::bigint::oid AND f.contype = 'f')
    ) role CROSS JOIN LATERAL (
        SELECT 'TABLE' AS kind, format('%I.%I', n.nspname, c.relname) AS shown, c.relname::text AS bare, c.relowner AS owner,
               array_to_string(ARRAY(SELECT p FROM unnest('{INSERT,SELECT,UPDATE,DELETE}'::text[]) p
                                     WHERE NOT has_table_privilege(role.oid, c.oid, p)), ', ') AS lacks
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      UNION ALL
        SELECT 'SEQUENCE', format('%I.%I', n.nspname, c.relname), c.relname::text, c.relowner,
               CASE WHEN c.relkind <> 'S' THEN '' WHEN has_sequence_privilege(role.oid, c.oid, 'USAGE') THEN ''
                    ELSE 'USAGE' END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'
      UNION ALL
        SELECT 'SCHEMA', quote_ident(n.nspname), n.nspname::text, n.nspowner,
               CASE WHEN has_schema_privilege(role.oid, n.oid, 'USAGE') THEN '' ELSE 'USAGE' END
        FROM pg_namespace n
      UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text, p.proname::text, p.proowner,
               CASE WHEN has_function_privilege(role.oid, p.oid, 'EXECUTE') THEN '' ELSE 'EXECUTE' END
        FROM pg_proc p
      UNION ALL
        SELECT 'TYPE', format_type(t.oid, NULL), t.typname::text, t.typowner,
               CASE WHEN has_type_privilege(role.oid, t.oid, 'USAGE') THEN '' ELSE 'USAGE' END
        FROM pg_type t
    ) object JOIN pg_roles owner ON owner.oid = object.owner
    WHERE object.lacks <> '' AND object.shown NOT LIKE 'pg\\_toast%'
    ORDER BY role.name <> current_user, object.shown LIMIT 20000";

/// The objects that this role does not own.
const FOREIGN: &str = "
    SELECT current_user::text, object.kind, object.shown, object.bare, '', owner.rolname::text
    FROM (
        SELECT 'SCHEMA' AS kind, quote_ident(nspname) AS shown, nspname::text AS bare, nspowner AS owner FROM pg_namespace
      UNION ALL
        SELECT 'TABLE', format('%I.%I', n.nspname, c.relname), c.relname::text, c.relowner
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      UNION ALL
        SELECT 'SEQUENCE', format('%I.%I', n.nspname, c.relname), c.relname::text, c.relowner
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'
      UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text, p.proname::text, p.proowner FROM pg_proc p
    ) object JOIN pg_roles owner ON owner.oid = object.owner
    WHERE NOT pg_has_role(current_user, owner.oid, 'USAGE')
    ORDER BY object.shown NOT LIKE 'veilpost%', object.shown LIMIT 20000";

/// An object of the catalogue, and what a role may not do with it.
#[derive(Clone, Debug)]
struct Lacking {
    role: String,
    kind: String,
    shown: String,
    /// Its name alone.
    bare: String,
    privileges: String,
    owner: String,
}

type LackingRow = (String, String, String, String, String, String);

/// Says which privilege a statement on the table lacked, for which role, and how it is granted, as far as the
/// catalogue can tell. `needed` are the privileges on columns that the statement needs, as GRANT names them.
///
/// # Errors
///
/// When the catalogue cannot be asked.
pub(crate) async fn explain_denial(
    session: &mut Session,
    table: &Table,
    needed: impl Iterator<Item = (&'static str, &str)> + Send,
    error: &ServerError,
) -> Result<String, DbError> {
    if let Some(missing) = missing_privileges(session, table).await? {
        return Ok(missing);
    }
    let (privileges, columns): (Vec<_>, Vec<_>) = needed.unzip();
    let policy = row_policy(&privileges);
    let by_table = sqlx::query_as(COLUMNS).bind(i64::from(table.oid)).bind(privileges).bind(columns);
    let (role, shown, missing, has_row_security): (String, String, Option<String>, bool) =
        ask(session, by_table).await?;
    if let Some(missing) = missing {
        return Ok(format!(
            "role {role} lacks: {missing} ON TABLE {shown}. The owner grants it with `GRANT {missing} ON TABLE \
             {shown} TO {role}`"
        ));
    }
    let triggers = sqlx::query_as(TRIGGERS).bind(i64::from(table.oid));
    let (triggers,): (Option<String>,) = ask(session, triggers).await?;
    let place = place(error.is_nested, triggers.as_deref(), &shown);
    let lacking = sqlx::query_as(LACKING).bind(i64::from(table.oid));
    let lacking = mentioned(session, lacking, error).await?;
    // Within a function, the rights may be those of its owner. Otherwise they are this role's.
    let roles = if error.is_nested { usize::MAX } else { 1 };
    let is_table_itself = lacking.first().is_none_or(|one| one.shown == shown);
    if has_row_security && !error.is_nested && is_table_itself {
        return Ok(format!(
            "row-level security of table {shown} refuses the row for role {role}. The owner permits it with `CREATE \
             POLICY veilpost ON {shown} FOR {} TO {role} {}`",
            policy.0, policy.1
        ));
    }
    let grants: Vec<String> = lacking.iter().take(roles).map(Lacking::grant).collect();
    if !grants.is_empty() {
        return Ok(format!("{place}{}", grants.join("; ")));
    }
    Ok(format!(
        "{place}role {role}, or the owner of a function that runs with its owner's rights, lacks a privilege on \
         something that Postgres does not name. The table itself can be written to, so look at what its \
         triggers, defaults and constraints use, and grant that"
    ))
}

/// Says what a role that migrates may not change, and whose it is; None when the catalogue cannot tell.
///
/// # Errors
///
/// When the catalogue cannot be asked.
pub(crate) async fn explain_foreign_owner(
    session: &mut Session,
    error: &ServerError,
) -> Result<Option<String>, DbError> {
    let foreign = mentioned(session, sqlx::query_as(FOREIGN), error).await?;
    Ok(foreign.into_iter().next().map(|Lacking { role, kind, shown, owner, .. }| {
        let kind = kind.to_ascii_lowercase();
        format!(
            "role {role} may not change {kind} {shown}, which belongs to role {owner}: run `veilpost-writer \
             migrate` as {owner}, and the writer with --migrate false"
        )
    }))
}

/// The command and the conditions of a policy for rows that permits what needs these privileges.
fn row_policy(privileges: &[&str]) -> (&'static str, &'static str) {
    if privileges.iter().all(|privilege| *privilege == "INSERT") {
        ("INSERT", "WITH CHECK (true)")
    } else {
        ("ALL", "USING (true) WITH CHECK (true)")
    }
}

/// Where in the statement the privilege was missing.
fn place(is_nested: bool, triggers: Option<&str>, table: &str) -> String {
    match (is_nested, triggers) {
        (true, Some(triggers)) => format!("within a function, as by trigger {triggers} of table {table}: "),
        (true, None) => format!("within a function that a default or a constraint of table {table} uses: "),
        (false, _) => String::new(),
    }
}

/// The object with the longest name of those that the error mentions, once for each role.
async fn mentioned(
    session: &mut Session,
    objects: QueryOf<'_, LackingRow>,
    error: &ServerError,
) -> Result<Vec<Lacking>, DbError> {
    let deadline = session.deadline();
    session.begin_apart().await?;
    let found = within(deadline, objects.fetch_all(session.connection())).await;
    let found = session.end_apart(found).await?;
    let mentioned = found.into_iter().map(Lacking::from).filter(|one| error.denial.mentions(&one.bare));
    let mut mentioned: Vec<Lacking> = mentioned.collect();
    if let Some(longest) = mentioned.iter().rev().max_by_key(|one| one.bare.len()) {
        let longest = longest.shown.clone();
        mentioned.retain(|one| one.shown == longest);
    }
    Ok(mentioned)
}

async fn ask<T>(session: &mut Session, query: QueryOf<'_, T>) -> Result<T, DbError>
where
    T: Send + Unpin + for<'row> sqlx::FromRow<'row, sqlx::postgres::PgRow>,
{
    let deadline = session.deadline();
    session.begin_apart().await?;
    let answer = within(deadline, query.fetch_one(session.connection())).await;
    session.end_apart(answer).await
}

impl From<LackingRow> for Lacking {
    fn from((role, kind, shown, bare, privileges, owner): LackingRow) -> Self {
        Self { role, kind, shown, bare, privileges, owner }
    }
}

impl Lacking {
    /// Postgres does not say which privilege it was, so all that the role lacks are named.
    fn grant(&self) -> String {
        let Self { role, kind, shown, privileges, owner, .. } = self;
        let first = privileges.split(',').next().unwrap_or_default();
        let needed = if privileges.contains(',') { "the one that is needed, such as" } else { "it with" };
        format!(
            "role {role} lacks: {privileges} ON {kind} {shown}. Its owner {owner} grants {needed} `GRANT {first} \
             ON {kind} {shown} TO {role}`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_role_privilege_object_and_owner() {
        let row = |privileges: &str| {
            let [role, kind, shown, bare, owner] = ["w", "TABLE", "app.log", "log", "o"].map(str::to_owned);
            Lacking::from((role, kind, shown, bare, privileges.to_owned(), owner))
        };
        assert_eq!(
            row("INSERT").grant(),
            "role w lacks: INSERT ON TABLE app.log. Its owner o grants it with `GRANT INSERT ON TABLE app.log TO w`"
        );
        let several = row("INSERT, SELECT").grant();
        assert!(several.contains("such as `GRANT INSERT ON TABLE app.log TO w`"), "{several}");
    }

    #[test]
    fn rows_that_are_read_or_updated_need_a_policy_for_all() {
        assert_eq!(row_policy(&["INSERT", "INSERT"]), ("INSERT", "WITH CHECK (true)"));
        assert_eq!(row_policy(&["INSERT", "SELECT"]).0, "ALL");
    }

    #[test]
    fn only_an_error_within_a_function_is_placed() {
        assert_eq!(place(false, Some("t"), "a"), "");
        assert!(
            place(true, Some("log (function f())"), "a").contains("trigger log (function f()) of table a")
        );
        assert!(place(true, None, "a").contains("default or a constraint of table a"));
    }
}
