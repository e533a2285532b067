//! A hot standby of a throw-away server.

use anyhow::Context;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use super::ThrowAwayPostgres;
use super::server::Cluster;

impl ThrowAwayPostgres {
    /// Starts a standby that receives this server's log through `port`: the server's own port, or that of a
    /// proxy before it. `name` is what `synchronous_standby_names` calls the standby. This server is down
    /// while its data are copied.
    ///
    /// # Errors
    /// When either server does not start in time, and when the data cannot be copied.
    pub async fn start_standby(&mut self, name: &str, port: u16) -> anyhow::Result<Self> {
        self.stop().await?;
        let copied = self.cluster.copy(name, port).await;
        self.start_again().await?;
        Self::start_cluster(copied?).await
    }

    /// Ends the recovery of a standby: it becomes a primary.
    ///
    /// # Errors
    /// When the server does not answer or is no standby.
    pub async fn promote(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        let promoted: bool = sqlx::query_scalar("SELECT pg_promote()").fetch_one(&mut connection).await?;
        anyhow::ensure!(promoted, "the standby was not promoted in time");
        Ok(())
    }
}

impl Cluster {
    /// A copy of the data of a server that is down, as a standby.
    async fn copy(&self, name: &str, port: u16) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("veilpost-standby-").tempdir()?;
        let primary = format!(
            "primary_conninfo=host=127.0.0.1 port={port} user=postgres password={} sslmode=disable \
             application_name={name}",
            self.password
        );
        let settings = self.settings.iter().cloned().chain([primary]).collect();
        let copy = Self {
            programs: self.programs.clone(),
            user: self.user,
            password: self.password.clone(),
            settings,
            directory,
        };
        copy.keep_private(copy.directory.path(), 0o700)?;
        let status = Command::new("cp").arg("-a").arg(self.data()).arg(copy.data()).status().await?;
        anyhow::ensure!(status.success(), "cannot copy the data of the primary ({status})");
        let signal = copy.data().join("standby.signal");
        std::fs::write(&signal, "").context("cannot make a standby")?;
        copy.keep_private(&signal, 0o600)?;
        Ok(copy)
    }
}
