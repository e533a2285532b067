//! Migrations: embedded, safe when several writers start at once, and patient with a Postgres that is not up yet.

mod grants;

use anyhow::Context;
use sqlx::migrate::{MigrateError, Migrator};
use veilpost_runtime::Lifecycle;

use crate::catalogue::TableName;
use crate::database::{Database, DbError, Session, within};
use crate::settings::MigrateSettings;
use crate::start_retry::{Patience, StartError};
use grants::grant_when_possible;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Runs the migrations that are still to be run, grants what the writer needs if a role is named, and ends. A drain ends the wait for Postgres with an error.
pub async fn migrate(settings: MigrateSettings, life: Lifecycle) -> anyhow::Result<()> {
    let database = settings.database.clone().open()?;
    tokio::select! {
        done = prepare(&database, &settings) => done,
        () = life.draining() => anyhow::bail!("stopped before the migrations were done"),
    }
}

async fn prepare(database: &Database, settings: &MigrateSettings) -> anyhow::Result<()> {
    migrate_when_possible(database).await?;
    tracing::info!("migrations are up to date");
    if let Some(role) = &settings.grant_to {
        grant_when_possible(database, role, TableName::parse(&settings.table)).await?;
        tracing::info!(role, table = settings.table, "the role may write, and do nothing else");
    }
    Ok(())
}

pub(crate) async fn migrate_when_possible(database: &Database) -> anyhow::Result<()> {
    let mut patience = Patience::new("cannot migrate yet; trying again");
    while let Err(error) = try_migrate(database).await {
        patience.wait_after(error).await.context("migrations failed")?;
    }
    Ok(())
}

async fn try_migrate(database: &Database) -> Result<(), StartError> {
    let mut session = database.connect_patiently().await?;
    run(&mut session).await
}

/// The schema is created only where it is missing: creating it takes a privilege even when it exists.
async fn run(session: &mut Session) -> Result<(), StartError> {
    let schema = sqlx::query_scalar("SELECT to_regnamespace('veilpost') IS NULL");
    let is_missing: bool = within(session.deadline(), schema.fetch_one(session.connection())).await?;
    let mut migrator = Migrator { migrations: MIGRATIONS.migrations.clone(), ..Migrator::DEFAULT };
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name("veilpost.migrations");
    if is_missing {
        migrator.create_schema("veilpost");
    }
    // `run` needs an `Acquire` for every lifetime, which makes the service's future unfit for spawning.
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
