//! Grants the writer's own role what it needs: to insert rows and to maintain the ledger, and nothing else.

use sqlx::{AssertSqlSafe, PgConnection};

use super::explained;
use crate::catalogue::{Catalogue, Table, TableName};
use crate::database::{Database, quoted, within};
use crate::ledger::leaves;
use crate::start_retry::{StartError, StartRetry};

/// The advisory lock for grants: grants at the same time would fail on each other.
const GRANTS_LOCK: i64 = 0x3c81_94d2_6e0b_75af;

/// Whether the role that gets the grants is the one that gives them.
const IS_SELF: &str = "SELECT rolname = current_user FROM pg_roles WHERE rolname = $1";

/// The sequences of serial columns. An identity column's sequence needs no privilege.
const SEQUENCES: &str = "
    SELECT DISTINCT format('%I.%I', n.nspname, s.relname)
    FROM pg_attrdef a
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
    JOIN pg_namespace n ON n.oid = s.relnamespace
    WHERE a.adrelid = $1::bigint::oid";

/// Whether the role can write now. Postgres only warns when a grant is not allowed, and the role may have the
/// privilege from elsewhere.
const SUFFICES: &str = "
    SELECT has_schema_privilege($1, relnamespace, 'USAGE') AND has_table_privilege($1, oid, 'INSERT')
           AND (SELECT bool_and(has_column_privilege($1, oid, name, 'SELECT')) FROM unnest($3::text[] || $4::text[]) name)
               IS DISTINCT FROM false
           AND (SELECT bool_and(has_column_privilege($1, oid, name, 'UPDATE')) FROM unnest($4::text[]) name)
               IS DISTINCT FROM false
    FROM pg_class WHERE oid = $2::bigint::oid";

/// What a role gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grants<'a> {
    pub(crate) role: &'a str,
    /// The columns of a policy's `on_conflict` that it may read, and those that it may read and update.
    pub(crate) key: &'a [String],
    pub(crate) update: &'a [String],
}

/// Grants a role what the writer needs for the table. Waits until both exist.
pub(crate) async fn grant_when_possible(
    database: &Database,
    grants: Grants<'_>,
    table: TableName,
) -> anyhow::Result<()> {
    let catalogue = Catalogue::new(table);
    let mut retry = StartRetry::once("cannot grant yet; trying again");
    while let Err(error) = try_grant(database, grants, &catalogue).await {
        retry.wait_after(error).await?;
    }
    Ok(())
}

async fn try_grant(database: &Database, grants: Grants<'_>, catalogue: &Catalogue) -> Result<(), StartError> {
    let role = grants.role;
    let mut session = database.connect_apart().await?;
    let deadline = session.deadline();
    let is_self = sqlx::query_scalar(IS_SELF).bind(role).fetch_optional(session.connection());
    match within(deadline, is_self).await? {
        Some(false) => {}
        Some(true) => {
            return Err(StartError::Final(format!(
                "{role} is the role that migrates; --grant-to needs the writer's own role"
            )));
        }
        None => return Err(StartError::NotYet(format!("role {role} does not exist"))),
    }
    let table = catalogue.refresh(&mut session).await?;
    refuse_unknown_columns(grants, &table)?;
    let granted = within(deadline, grant(session.connection(), grants, &table)).await;
    if explained(&mut session, granted.map_err(StartError::from)).await? {
        return Ok(());
    }
    Err(StartError::Final(format!(
        "{role} may not write to {}.{}: its owner must grant that",
        table.schema, table.name
    )))
}

fn refuse_unknown_columns(grants: Grants<'_>, table: &Table) -> Result<(), StartError> {
    let is_known = |name: &String| table.columns.iter().any(|column| column.name == *name);
    match grants.key.iter().chain(grants.update).find(|name| !is_known(name)) {
        Some(unknown) => Err(StartError::Final(format!("table {} has no column {unknown}", table.sql_name))),
        None => Ok(()),
    }
}

/// Returns whether the role can write to the table now.
async fn grant(
    connection: &mut PgConnection,
    grants: Grants<'_>,
    table: &Table,
) -> Result<bool, sqlx::Error> {
    let sequences: Vec<String> =
        sqlx::query_scalar(SEQUENCES).bind(i64::from(table.oid)).fetch_all(&mut *connection).await?;
    // Statements that travel together are one transaction.
    sqlx::raw_sql(AssertSqlSafe(statements(grants, table, &sequences))).execute(&mut *connection).await?;
    let suffices = sqlx::query_scalar(SUFFICES).bind(grants.role).bind(i64::from(table.oid));
    suffices.bind(grants.key).bind(grants.update).fetch_one(connection).await
}

/// Revokes first whatever the role has in schema `veilpost`, from an earlier version or by hand.
fn statements(grants: Grants<'_>, table: &Table, sequences: &[String]) -> String {
    let role = quoted(grants.role);
    let (schema, name) = (quoted(&table.schema), quoted(&table.name));
    let leaves = leaves().collect::<Vec<_>>().join(", ");
    let mut statements = format!(
        "SELECT pg_advisory_xact_lock({GRANTS_LOCK});
         REVOKE ALL ON ALL TABLES IN SCHEMA veilpost FROM {role};
         GRANT USAGE ON SCHEMA veilpost, {schema} TO {role};
         GRANT INSERT, SELECT ON veilpost.ledger TO {role};
         GRANT SELECT, TRUNCATE ON {leaves} TO {role};
         GRANT EXECUTE ON FUNCTION veilpost.input_error(text, oid, integer) TO {role};
         GRANT INSERT ON {schema}.{name} TO {role};"
    );
    statements
        .extend(sequences.iter().map(|sequence| format!("GRANT USAGE ON SEQUENCE {sequence} TO {role};")));
    let names = |columns: &[String]| columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let on_columns = [("SELECT", grants.key), ("SELECT", grants.update), ("UPDATE", grants.update)];
    statements.extend(on_columns.into_iter().filter(|(_, columns)| !columns.is_empty()).map(
        |(privilege, columns)| {
            format!("GRANT {privilege} ({}) ON {schema}.{name} TO {role};", names(columns))
        },
    ));
    statements
}
