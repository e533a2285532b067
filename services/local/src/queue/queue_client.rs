//! The queue that a command works on.

use anyhow::Context;
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use veilpost_sqs::{Call, SqsError};

/// An existing queue, and a client that reaches it.
#[derive(Clone, Debug)]
pub struct QueueClient {
    pub client: Client,
    pub url: String,
}

impl QueueClient {
    /// Finds a queue by its URL or its name, with the AWS SDK's default settings.
    pub async fn find(queue: &str) -> anyhow::Result<Self> {
        let settings = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let client = Client::new(&settings);
        if queue.contains("://") {
            return Ok(Self { client, url: queue.to_owned() });
        }
        let found = client.get_queue_url().queue_name(queue).send().await;
        let found = found
            .map_err(|error| in_one_line(&error, Call::Find))
            .with_context(|| format!("cannot find queue {queue}"))?;
        Ok(Self { client, url: found.queue_url.context("the queue service returned no URL")? })
    }
}

/// An error of the SDK in one line: what is wrong, and what to do.
pub fn in_one_line<E>(error: &SdkError<E>, call: Call) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    SqsError::from_sdk(error, call).into()
}
