//! The embedded queue, as the demo and the command line run it, behind a proxy that injects faults.

use std::collections::HashMap;
use std::sync::Mutex;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    Message, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use serde_json::json;
use veilpost_local::queue::EmbeddedQueue;
use veilpost_testkit::{ArmedFault, SqsFault, SqsFaultProxy};

pub(crate) struct Sqs {
    pub(crate) aws: SdkConfig,
    pub(crate) client: Client,
    proxy: SqsFaultProxy,
    /// The last fault of each operation.
    broken: Mutex<HashMap<&'static str, ArmedFault>>,
    _queue: EmbeddedQueue,
}

impl Sqs {
    pub(crate) async fn start() -> Self {
        let queue = EmbeddedQueue::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let proxy = SqsFaultProxy::before(queue.address()).await.unwrap();
        let aws = config(&proxy.endpoint()).await;
        Self { client: Client::new(&aws), aws, proxy, broken: Mutex::default(), _queue: queue }
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.aws.endpoint_url().unwrap()
    }

    /// The next `times` calls of `operation` meet `fault`, which takes the place of an earlier one.
    pub(crate) fn break_next(&self, times: u64, operation: &'static str, fault: SqsFault) {
        let armed = self.proxy.arm_exactly(operation, fault, times);
        if let Some(earlier) = self.broken.lock().unwrap().insert(operation, armed) {
            earlier.disarm();
        }
    }

    /// From now on the calls of `operation` meet no fault.
    pub(crate) fn mend(&self, operation: &'static str) {
        if let Some(armed) = self.broken.lock().unwrap().remove(operation) {
            armed.disarm();
        }
    }

    /// How often `operation` has been called, faults included.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.proxy.calls(operation)
    }

    /// How many messages receives through the proxy have brought.
    pub(crate) fn deliveries(&self) -> usize {
        self.proxy.handles().len()
    }

    /// How many calls of `operation` have come and are not answered yet.
    pub(crate) fn in_flight(&self, operation: &str) -> usize {
        self.proxy.in_flight(operation)
    }

    /// The most of them at any one time.
    pub(crate) fn most_in_flight(&self, operation: &str) -> usize {
        self.proxy.most_in_flight(operation)
    }

    pub(crate) async fn create(&self, name: &str) -> String {
        self.client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
    }

    /// A queue whose messages go to `dead` after `receives` receives.
    pub(crate) async fn create_with_redrive(&self, name: &str, dead: &str, receives: u32) -> String {
        let dead = self.create(dead).await;
        let arn = self.attribute(&dead, QueueAttributeName::QueueArn).await;
        let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": receives }).to_string();
        let create = self.client.create_queue().queue_name(name);
        create.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap().queue_url.unwrap()
    }

    pub(crate) async fn attribute(&self, url: &str, name: QueueAttributeName) -> String {
        let call = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        call.send().await.unwrap().attributes.unwrap().remove(&name).unwrap()
    }

    pub(crate) async fn send(&self, url: &str, body: &str) -> String {
        self.client.send_message().queue_url(url).message_body(body).send().await.unwrap().message_id.unwrap()
    }

    /// Sends `messages` messages, ten at a time.
    pub(crate) async fn send_many(&self, url: &str, messages: usize) {
        let entry = |id: usize| {
            SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body("{}").build().unwrap()
        };
        for _ in 0..messages / 10 {
            let call = self.client.send_message_batch().queue_url(url);
            call.set_entries(Some((0..10).map(entry).collect())).send().await.unwrap();
        }
    }

    /// Messages that can be received, and messages that are hidden.
    pub(crate) async fn counts(&self, url: &str) -> (usize, usize) {
        let call = self.client.get_queue_attributes().queue_url(url);
        let found = call.attribute_names(QueueAttributeName::All).send().await.unwrap().attributes.unwrap();
        let number = |name| found[&name].parse().unwrap();
        (
            number(QueueAttributeName::ApproximateNumberOfMessages),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    /// Everything that can be received at once, with all attributes, hidden for 30 s.
    pub(crate) async fn receive(&self, url: &str) -> Vec<Message> {
        self.receive_hidden(url, 30, 0).await
    }

    pub(crate) async fn receive_hidden(&self, url: &str, visibility: i32, wait: i32) -> Vec<Message> {
        let call = self.client.receive_message().queue_url(url).max_number_of_messages(10);
        let call = call.visibility_timeout(visibility).wait_time_seconds(wait).message_attribute_names("All");
        let call = call.message_system_attribute_names(MessageSystemAttributeName::All);
        call.send().await.unwrap().messages.unwrap_or_default()
    }
}

pub(crate) async fn config(endpoint: &str) -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).empty_test_environment();
    loader.test_credentials().region(Region::from_static("us-east-1")).endpoint_url(endpoint).load().await
}
