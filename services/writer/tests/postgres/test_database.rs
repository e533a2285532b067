//! A database of a test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};
use veilpost_runtime::Lifecycle;
use veilpost_testkit::SharedPostgres;
use veilpost_writer::{Arguments, WriterCommand, migrate};

/// A database whose owner is not a superuser, as in production.
pub(crate) struct TestDatabase {
    pub(crate) postgres: Arc<SharedPostgres>,
    pub(crate) name: String,
}

impl TestDatabase {
    /// A new database in which `setup` has been run.
    pub(crate) async fn with(setup: &str) -> Self {
        let database = Self::not_created().await;
        database.create().await;
        database.sql(setup).await;
        database
    }

    pub(crate) async fn not_created() -> Self {
        Self::named(SharedPostgres::get().await.unwrap())
    }

    /// A new database on a server that no other test uses.
    pub(crate) async fn alone() -> Self {
        let database = Self::named(SharedPostgres::start().await.unwrap());
        database.create().await;
        database
    }

    fn named(postgres: Arc<SharedPostgres>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { postgres, name }
    }

    pub(crate) async fn create(&self) {
        self.postgres.create_database(&self.name).await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        self.postgres.url(&self.name, &self.name)
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        connect(&self.url()).await
    }

    pub(crate) async fn connect_as(&self, role: &str) -> PgConnection {
        connect(&self.postgres.url(role, &self.name)).await
    }

    /// A role that may do nothing yet.
    pub(crate) async fn create_writer_role(&self) -> String {
        let role = format!("{}_writer", self.name);
        self.postgres.create_role(&role).await.unwrap();
        role
    }

    /// Migrates as the owner, with further arguments.
    pub(crate) async fn migrate(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let url = self.url();
        let own = ["veilpost-writer", "migrate", "--database-url", &url];
        let arguments = Arguments::try_parse_from([&own, arguments].concat()).unwrap();
        let Some(WriterCommand::Migrate(settings)) = arguments.command else { panic!("not migrate") };
        migrate(settings, Lifecycle::for_tests()).await
    }

    pub(crate) async fn connect_as_admin(&self) -> PgConnection {
        connect(&self.postgres.url(SharedPostgres::SUPERUSER, &self.name)).await
    }

    pub(crate) async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connect().await).await.unwrap();
    }

    /// The single text that a query returns.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let value: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connect().await).await.unwrap();
        value.unwrap_or_else(|| "NULL".to_owned())
    }

    pub(crate) async fn count(&self, table: &str) -> usize {
        self.text(&format!("SELECT count(*)::text FROM {table}")).await.parse().unwrap()
    }
}

async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}
