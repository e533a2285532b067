//! The queue as a process of its own: `veilpost queue`.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use veilpost_local::process::Child;
use veilpost_local::queue::client_for;
use veilpost_testkit::Executables;

use crate::sender::PlainSender;

const START_PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct QueueProcess {
    child: Child,
    pub(crate) endpoint: String,
    pub(crate) dead_letter_url: String,
    pub(crate) client: Client,
    pub(crate) sender: PlainSender,
}

impl QueueProcess {
    pub(crate) async fn start(
        executables: &Executables,
        directory: &Path,
        name: &str,
    ) -> anyhow::Result<Self> {
        let output = directory.join(format!("{name}.log"));
        let file = File::create(&output)?;
        let mut command = Command::new(executables.path("veilpost"));
        command.args(["queue", "--address", "127.0.0.1:0"]).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let mut child = Child::start("queue", &mut command)?;
        let endpoint = endpoint(&output, &mut child).await?;
        let client = client_for(&endpoint);
        let dead_letter_url = create(&client, "bench-dead-letters").await?;
        let sender = PlainSender::new(&endpoint);
        Ok(Self { child, endpoint, dead_letter_url, client, sender })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.endpoint.trim_start_matches("http://").parse()?)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Creates a queue and returns its URL.
    pub(crate) async fn create(&self, name: &str) -> anyhow::Result<String> {
        create(&self.client, name).await
    }
}

async fn create(client: &Client, name: &str) -> anyhow::Result<String> {
    let created = client.create_queue().queue_name(name).send().await.context("cannot create a queue")?;
    created.queue_url.context("the queue has no URL")
}

async fn endpoint(output: &Path, child: &mut Child) -> anyhow::Result<String> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        let text = std::fs::read_to_string(output)?;
        let told = text.lines().find_map(|line| line.strip_prefix("export AWS_ENDPOINT_URL="));
        if let Some(endpoint) = told.filter(|_| text.ends_with('\n')) {
            return Ok(endpoint.to_owned());
        }
        anyhow::ensure!(
            child.ended().is_none() && Instant::now() < until,
            "the queue did not start:\n{text}"
        );
        sleep(POLL_INTERVAL).await;
    }
}

/// Messages in a queue, visible and hidden.
pub(crate) async fn messages_left(client: &Client, url: &str) -> anyhow::Result<u64> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let counts = request.send().await.context("cannot count messages")?.attributes.unwrap_or_default();
    names
        .iter()
        .map(|name| counts.get(name).context("a count is missing")?.parse::<u64>().context("not a count"))
        .sum()
}
