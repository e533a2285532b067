//! `veilpost queue`: serves the embedded queue on a port.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use veilpost_local::output::print;
use veilpost_local::process::EndingSignals;
use veilpost_local::queue::{CREDENTIALS, EmbeddedQueue, QueuePair, REGION};
use veilpost_runtime::parse_address;

#[derive(Args, Clone, Debug)]
pub(crate) struct QueueSettings {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, env = "VEILPOST_QUEUE_ADDRESS", default_value = "127.0.0.1:9324", value_parser = parse_address,
          help_heading = "Server")]
    address: SocketAddr,

    /// The queue to create
    #[arg(long, env = "VEILPOST_QUEUE_NAME", default_value = "user-logins", help_heading = "Queues")]
    name: String,

    /// The dead-letter queue to create; messages move there after ten receives [default: <NAME>-dead-letter]
    #[arg(long, env = "VEILPOST_DEAD_LETTER_NAME", value_name = "NAME", help_heading = "Queues")]
    dead_letter_name: Option<String>,
}

/// Serves until a signal comes.
pub(crate) async fn run(settings: &QueueSettings, signals: &mut EndingSignals) -> anyhow::Result<ExitCode> {
    let dead_letter_name =
        settings.dead_letter_name.clone().unwrap_or_else(|| format!("{}-dead-letter", settings.name));
    let started = EmbeddedQueue::start_with(settings.address, &settings.name, &dead_letter_name).await;
    let (queue, pair) =
        started.context("cannot start the queue; --address chooses another address or port")?;
    print(&introduction(&queue.endpoint(), &pair))?;
    signals.next().await;
    Ok(ExitCode::SUCCESS)
}

/// The URLs of the queues, and the variables for clients as a shell reads them.
fn introduction(endpoint: &str, pair: &QueuePair) -> String {
    let (key, secret) = CREDENTIALS;
    format!(
        "Queue              {}\n\
         Dead-letter queue  {}\n\
         \n\
         export AWS_ENDPOINT_URL={endpoint}\n\
         export AWS_REGION={REGION}\n\
         export AWS_ACCESS_KEY_ID={key}\n\
         export AWS_SECRET_ACCESS_KEY={secret}\n",
        pair.url, pair.dead_letter_url
    )
}
