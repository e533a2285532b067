//! What the embedded queue promises: it behaves as SQS does, seen through the AWS SDK.

mod queues;
mod receiving;
mod redrive;
mod sending;
mod settling;

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use veilpost_local::queue::{EmbeddedQueue, QueuePair};

struct Sqs {
    client: Client,
    pair: QueuePair,
    queue: EmbeddedQueue,
}

impl Sqs {
    async fn start() -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let (queue, pair) = EmbeddedQueue::start_with(address, "logins", "letters").await.unwrap();
        Self { client: queue.client(), pair, queue }
    }

    fn url(&self) -> &str {
        &self.pair.url
    }

    /// Sends to the source queue and returns the message's id.
    async fn send(&self, body: &str) -> String {
        let sent = self.client.send_message().queue_url(self.url()).message_body(body).send().await.unwrap();
        sent.message_id.unwrap()
    }

    /// Receives up to ten messages, with all that is known of them.
    async fn receive(&self, url: &str, visibility: i32, wait: i32) -> Vec<Message> {
        let call = self.client.receive_message().queue_url(url).max_number_of_messages(10);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::All);
        let call = call.message_attribute_names("All").visibility_timeout(visibility);
        call.wait_time_seconds(wait).send().await.unwrap().messages.unwrap_or_default()
    }

    async fn receive_one(&self, visibility: i32) -> Message {
        self.receive(self.url(), visibility, 20).await.pop().unwrap()
    }

    async fn attribute(&self, url: &str, name: QueueAttributeName) -> String {
        let call = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        call.send().await.unwrap().attributes.unwrap().remove(&name).unwrap()
    }

    /// Visible, hidden and delayed messages.
    async fn counts(&self, url: &str) -> [u64; 3] {
        let call = self.client.get_queue_attributes().queue_url(url);
        let shown = call.attribute_names(QueueAttributeName::All).send().await.unwrap().attributes.unwrap();
        [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ]
        .map(|name| shown[&name].parse().unwrap())
    }
}

fn handle(message: &Message) -> &str {
    message.receipt_handle.as_ref().unwrap()
}

fn system(message: &Message) -> &HashMap<MessageSystemAttributeName, String> {
    message.attributes.as_ref().unwrap()
}

fn receives(message: &Message) -> u32 {
    system(message)[&MessageSystemAttributeName::ApproximateReceiveCount].parse().unwrap()
}

/// The code of the error that a call ends with.
fn code<T, E>(result: Result<T, SdkError<E>>) -> String
where
    E: ProvideErrorMetadata,
{
    let error = result.err().expect("the call must fail");
    error.code().unwrap().trim_start_matches("AWS.SimpleQueueService.").to_owned()
}
