//! Migrations: embedded in the executable, safe when several writers start at once.

mod grants;
mod migrations;

use anyhow::Context;
use sqlx::migrate::{MigrateError, Migrator};
use veilpost_runtime::Lifecycle;

use crate::catalogue::TableName;
use crate::database::{Database, DbError, Session, within};
use crate::settings::MigrateSettings;
use crate::start_retry::{StartError, StartRetry};
use grants::grant_when_possible;
use migrations::migrations;

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
    migrate_when_possible(database).await?;
    tracing::info!("migrations are up to date");
    if let Some(role) = &settings.grant_to {
        grant_when_possible(database, role, TableName::parse(&settings.table)).await?;
        tracing::info!(
            role,
            table = settings.table,
            "granted the role what the writer needs and nothing else"
        );
    }
    Ok(())
}

pub(crate) async fn migrate_when_possible(database: &Database) -> anyhow::Result<()> {
    let mut retry = StartRetry::new("cannot migrate yet; trying again");
    while let Err(error) = try_migrate(database).await {
        retry.wait_after(error).await.context("migrations failed")?;
    }
    Ok(())
}

async fn try_migrate(database: &Database) -> Result<(), StartError> {
    let mut session = database.connect_patiently().await?;
    run(&mut session).await
}

/// Creates the schema only where it is missing: `CREATE SCHEMA IF NOT EXISTS` needs a privilege even when it
/// exists.
async fn run(session: &mut Session) -> Result<(), StartError> {
    let schema = sqlx::query_scalar("SELECT to_regnamespace('veilpost') IS NULL");
    let is_missing: bool = within(session.deadline(), schema.fetch_one(session.connection())).await?;
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
