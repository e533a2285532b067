//! Sends messages to the embedded queue without the SDK: what sends is not what is measured, but it shares
//! the machine with it.

use anyhow::Context;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Connections are kept; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct PlainSender {
    endpoint: String,
    client: Client<HttpConnector, String>,
}

/// SQS's JSON protocol, without a signature, which the embedded queue does not ask for.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendCall<'a> {
    queue_url: &'a str,
    entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    id: String,
    message_body: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    successful: Vec<IgnoredAny>,
}

impl PlainSender {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends up to ten messages in one call, and fails unless the queue takes them all.
    pub(crate) async fn send<'a>(
        &self,
        url: &str,
        bodies: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<()> {
        let entries: Vec<_> =
            bodies.enumerate().map(|(id, message_body)| Entry { id: id.to_string(), message_body }).collect();
        let count = entries.len();
        let request = http::Request::post(&self.endpoint)
            .header(CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("X-Amz-Target", "AmazonSQS.SendMessageBatch")
            .body(serde_json::to_string(&SendCall { queue_url: url, entries })?)?;
        let answer = self.client.request(request).await.context("the queue cannot be reached")?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "the queue answers {status}");
        let answer: Answer = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
        anyhow::ensure!(answer.successful.len() == count, "the queue refused a message");
        Ok(())
    }
}
