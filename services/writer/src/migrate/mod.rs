//! Migrations: embedded in the executable, safe when several writers start at once.

mod default_table;
mod grants;
mod migrations;
mod schemas;

use anyhow::Context;
use sqlx::migrate::{MigrateError, Migrator};
use veilpost_runtime::Lifecycle;

use crate::catalogue::{TableName, explain_foreign_owner};
use crate::database::{Database, DbError, Session, within};
use crate::settings::MigrateSettings;
use crate::start_retry::{StartError, StartRetry, refuse_mixed_sessions};
use default_table::create_default_table;
use grants::{Grants, grant_when_possible};
use migrations::migrations;
use schemas::{check_right_to_create, check_schemas};

pub(crate) use default_table::DEFAULT_TABLE;

/// Runs the pending migrations, grants the role in `settings` what the writer needs, and returns. Waits for
/// Postgres where that may help.
///
/// # Errors
///
/// When waiting cannot help, as with a wrong password or a bad setting, and when a drain ends the wait.
pub async fn migrate(settings: MigrateSettings, life: Lifecycle) -> anyhow::Result<()> {
    let database = settings.database.clone().open()?;
    tokio::select! {
        done = migrate_and_grant(&database, &settings) => done,
        () = life.draining() => anyhow::bail!("stopped before the migrations were done"),
    }
}

async fn migrate_and_grant(database: &Database, settings: &MigrateSettings) -> anyhow::Result<()> {
    migrate_with(StartRetry::once(CANNOT_MIGRATE), database, &settings.table).await?;
    tracing::info!("migrations are up to date");
    if let Some(role) = &settings.grant_to {
        let MigrateSettings { on_conflict_key: key, on_conflict_update: update, .. } = settings;
        let grants = Grants { role, key, update };
        grant_when_possible(database, grants, TableName::parse(&settings.table)).await?;
        tracing::info!(
            role,
            table = settings.table,
            "granted the role what the writer needs and nothing else"
        );
    }
    Ok(())
}

const CANNOT_MIGRATE: &str = "cannot migrate yet; trying again";

/// Makes the default table too, when `table` is its name and means nothing yet.
pub(crate) async fn migrate_when_possible(database: &Database, table: &str) -> anyhow::Result<()> {
    migrate_with(StartRetry::new(CANNOT_MIGRATE), database, table).await
}

async fn migrate_with(mut retry: StartRetry, database: &Database, table: &str) -> anyhow::Result<()> {
    while let Err(error) = try_migrate(database, table).await {
        retry.wait_after(error).await.context("migrations failed")?;
    }
    Ok(())
}

async fn try_migrate(database: &Database, table: &str) -> Result<(), StartError> {
    refuse_mixed_sessions(database).await?;
    let mut session = database.connect_patiently().await?;
    let done = change(&mut session, table).await;
    let done = explained(&mut session, done).await;
    session.close().await;
    done
}

async fn change(session: &mut Session, table: &str) -> Result<(), StartError> {
    check_schemas(session).await?;
    run(session).await?;
    if table == DEFAULT_TABLE {
        create_default_table(session).await?;
    }
    Ok(())
}

/// Says whose it is what this role may not change.
async fn explained<T>(session: &mut Session, done: Result<T, StartError>) -> Result<T, StartError> {
    let Err(StartError::Database(DbError::Server(error))) = &done else { return done };
    if !error.is_unexplained_denial() || session.roll_back().await.is_err() {
        return done;
    }
    match explain_foreign_owner(session, error).await {
        Ok(Some(found)) => Err(DbError::from(error.explained(found)).into()),
        _ => done,
    }
}

/// Creates the schema only where it is missing: `CREATE SCHEMA IF NOT EXISTS` needs a privilege even when it
/// exists.
async fn run(session: &mut Session) -> Result<(), StartError> {
    let schema = sqlx::query_scalar("SELECT to_regnamespace('veilpost') IS NULL");
    let is_missing: bool = within(session.deadline(), schema.fetch_one(session.connection())).await?;
    if is_missing {
        check_right_to_create(session).await?;
    }
    let mut migrator = Migrator::with_migrations(migrations());
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name("veilpost.migrations");
    if is_missing {
        migrator.create_schema("veilpost");
    }
    // `Migrator::run` needs an `Acquire` for every lifetime, and a future with that bound cannot be spawned.
    migrator.run_direct(None, session.connection(), false).await.map_err(StartError::from)
}

impl From<MigrateError> for StartError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                Self::Database(DbError::from(error))
            }
            other => Self::Final(other.to_string()),
        }
    }
}
