//! A throw-away Postgres that all tests of a process share.

use std::sync::{Arc, Weak};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;
use veilpost_local::postgres::{PostgresOptions, ThrowAwayPostgres, find_or_install};

/// Tests run side by side, their data need not survive, and their roles need no passwords.
const OPTIONS: PostgresOptions<'static> = PostgresOptions {
    authentication: "trust",
    settings: &["fsync=off", "max_connections=200", "log_min_messages=error"],
};

static SHARED: Mutex<Weak<SharedPostgres>> = Mutex::const_new(Weak::new());

/// The server. It stops when its last user drops it.
#[derive(Debug)]
pub struct SharedPostgres {
    server: ThrowAwayPostgres,
}

impl SharedPostgres {
    /// The superuser.
    pub const SUPERUSER: &str = "postgres";

    /// The server that other tests use now, or a new one.
    pub async fn get() -> anyhow::Result<Arc<Self>> {
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Self::start().await?;
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// A new server that no other test uses, for tests that change settings of the whole server.
    pub async fn start() -> anyhow::Result<Arc<Self>> {
        let programs = find_or_install(|_| ()).await?;
        Ok(Arc::new(Self { server: ThrowAwayPostgres::start_with(programs, OPTIONS).await? }))
    }

    /// Creates a role that may log in and nothing else.
    pub async fn create_role(&self, role: &str) -> anyhow::Result<()> {
        self.run(&format!("CREATE ROLE {role} LOGIN")).await
    }

    /// Creates a database, and a role of the same name that owns it.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.create_role(name).await?;
        self.run(&format!("CREATE DATABASE {name} OWNER {name}")).await
    }

    /// The URL for any role.
    pub fn url(&self, role: &str, database: &str) -> String {
        self.server.url_of(role, database)
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Everything that the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.server.log_file()).unwrap_or_default()
    }

    async fn run(&self, statement: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.server.url()).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}
