//! The default table, made where the default name is used and means nothing yet.

use sqlx::AssertSqlSafe;

use crate::database::{DbError, Session, quoted, within};

/// The default of `--table`.
pub(crate) const DEFAULT_TABLE: &str = "user_logins";

/// The advisory lock that lets only one writer at a time make the table.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4242163806213091375)";

/// Whether the name is free on the role's search path, and the schema that a new table would be in.
const PLACE: &str = "
    SELECT pg_catalog.to_regclass($1::pg_catalog.text) IS NULL, pg_catalog.current_schema()::pg_catalog.text";

const MAY_CREATE: &str = "SELECT has_schema_privilege($1, 'CREATE')";

const COLUMNS: &str = "
    user_id          varchar(128),
    device_type      varchar(32),
    masked_ip        varchar(256),
    masked_device_id varchar(256),
    locale           varchar(32),
    app_version      integer,
    create_date      date";

/// Makes the table if it is missing and the role may. A role that may not is told so: somebody else may have
/// to make the table.
pub(super) async fn create_default_table(session: &mut Session) -> Result<(), DbError> {
    session.begin_apart().await?;
    let created = try_create(session).await;
    if let Some(schema) = session.end_apart(created).await? {
        tracing::warn!(
            schema,
            "table {DEFAULT_TABLE} does not exist, and this role may not create it: name your own with --table, \
             or grant CREATE on the schema"
        );
    }
    Ok(())
}

/// Returns the schema in which the table is needed and may not be created.
async fn try_create(session: &mut Session) -> Result<Option<String>, DbError> {
    let deadline = session.deadline();
    within(deadline, sqlx::raw_sql(LOCK).execute(session.connection())).await?;
    let place = session.ask_on_path_of_role(sqlx::query_as(PLACE).bind(DEFAULT_TABLE)).await?;
    let (true, schema): (bool, Option<String>) = place else { return Ok(None) };
    let schema = schema.unwrap_or_else(|| "public".to_owned());
    let may_create = sqlx::query_scalar(MAY_CREATE).bind(&schema);
    if !within(deadline, may_create.fetch_one(session.connection())).await? {
        return Ok(Some(schema));
    }
    let create = format!("CREATE TABLE IF NOT EXISTS {}.{DEFAULT_TABLE} ({COLUMNS})", quoted(&schema));
    within(deadline, sqlx::raw_sql(AssertSqlSafe(create)).execute(session.connection())).await?;
    Ok(None)
}
