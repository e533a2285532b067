//! A throw-away Postgres with TLS, whose certificate a test can exchange.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use veilpost_local::certificates::IssuedCertificate;
use veilpost_local::postgres::{ThrowAwayPostgres, find_or_install};

/// The server. It serves clients without TLS as well.
#[derive(Debug)]
pub struct TlsPostgres(ThrowAwayPostgres);

impl TlsPostgres {
    /// Starts a server with this certificate.
    ///
    /// # Errors
    ///
    /// When the server does not start or does not take the certificate.
    pub async fn start(certificate: &IssuedCertificate) -> anyhow::Result<Self> {
        let postgres = Self(ThrowAwayPostgres::start(find_or_install(|_| ()).await?).await?);
        postgres.write("server.crt", &certificate.certificate)?;
        postgres.write("server.key", &certificate.key)?;
        postgres.reload("ALTER SYSTEM SET ssl = on").await?;
        Ok(postgres)
    }

    /// New connections get this certificate.
    ///
    /// # Errors
    ///
    /// When the server does not take it.
    pub async fn exchange(&self, certificate: &IssuedCertificate) -> anyhow::Result<()> {
        self.write("server.crt", &certificate.certificate)?;
        self.write("server.key", &certificate.key)?;
        self.reload("SELECT 1").await
    }

    /// The superuser's URL, with `host` for 127.0.0.1 and this query.
    pub fn url(&self, host: &str, query: &str) -> String {
        let url = self.0.url();
        let (before, _) = url.split_once('?').unwrap_or((&url, ""));
        format!("{}?{query}", before.replace("127.0.0.1", host))
    }

    /// How many connections with TLS are open now.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub async fn encrypted_connections(&self) -> anyhow::Result<i64> {
        let mut connection = PgConnection::connect(&self.0.url()).await?;
        let count = sqlx::query_scalar("SELECT count(*) FROM pg_stat_ssl WHERE ssl");
        Ok(count.fetch_one(&mut connection).await?)
    }

    /// A file that only the server's user may read.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let data = self.0.directory().join("data");
        let file = data.join(name);
        std::fs::write(&file, text)?;
        give(&file, &data)
    }

    /// Runs a statement and reads settings and certificates again. The reload is over when a new connection
    /// gets an answer, because the postmaster handles its signals before it accepts.
    async fn reload(&self, statement: &'static str) -> anyhow::Result<()> {
        let options: PgConnectOptions = self.0.url().parse()?;
        let mut connection = PgConnection::connect_with(&options).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        let before: String =
            sqlx::query_scalar("SELECT pg_conf_load_time()::text").fetch_one(&mut connection).await?;
        sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut connection).await?;
        crate::eventually("a reload", async || {
            let again = async {
                let mut connection = PgConnection::connect_with(&options).await?;
                let loaded = sqlx::query_scalar("SELECT pg_conf_load_time()::text");
                let loaded: String = loaded.fetch_one(&mut connection).await?;
                connection.close().await?;
                Ok::<_, sqlx::Error>(loaded)
            };
            match again.await {
                Ok(loaded) if loaded != before => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .context("Postgres reads its settings again")
    }
}

fn give(file: &Path, owners: &Path) -> anyhow::Result<()> {
    let owner = std::fs::metadata(owners)?;
    std::fs::set_permissions(file, Permissions::from_mode(0o600))?;
    Ok(chown(file, Some(owner.uid()), Some(owner.gid()))?)
}
