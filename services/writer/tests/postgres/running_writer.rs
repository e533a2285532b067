//! A writer in the test's own process.

use std::time::Duration;

use clap::Parser;
use tokio::task::JoinSet;
use veilpost_runtime::Lifecycle;
use veilpost_testkit::free_port;
use veilpost_writer::{Arguments, Writer};

use crate::test_database::TestDatabase;

/// A writer that runs until it is dropped or stopped.
pub(crate) struct RunningWriter {
    pub(crate) life: Lifecycle,
    pub(crate) address: String,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl TestDatabase {
    /// A writer with further arguments, not yet ready.
    pub(crate) fn start_writer(&self, arguments: &[&str]) -> RunningWriter {
        self.start_writer_as(&self.name, arguments)
    }

    /// A writer that logs in as another role.
    pub(crate) fn start_writer_as(&self, role: &str, arguments: &[&str]) -> RunningWriter {
        Self::start_writer_at(&self.postgres.url(role, &self.name), arguments)
    }

    /// A writer that reaches the database by another URL.
    pub(crate) fn start_writer_at(url: &str, arguments: &[&str]) -> RunningWriter {
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let own = ["veilpost-writer", "--database-url", url, "--listen-address", &address];
        let settings = Arguments::try_parse_from([&own, arguments].concat()).unwrap().settings;
        let life = Lifecycle::for_tests();
        let mut tasks = JoinSet::new();
        tasks.spawn(Writer::new(settings).unwrap().run(life.clone()));
        RunningWriter { life, address: format!("http://{address}"), tasks }
    }

    /// A writer with further arguments that accepts streams.
    pub(crate) async fn ready_writer(&self, arguments: &[&str]) -> RunningWriter {
        let running = self.start_writer(arguments);
        running.wait_until_ready().await;
        running
    }
}

impl RunningWriter {
    pub(crate) async fn wait_until_ready(&self) {
        for _ in 0..300 {
            if self.life.is_ready() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the writer did not become ready");
    }

    /// Drains and waits for a clean end.
    pub(crate) async fn stop(mut self) {
        self.life.start_drain();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
        self.life.tasks_ended().await;
    }
}
