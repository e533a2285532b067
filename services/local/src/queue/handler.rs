//! The differences between the embedded queue and the library behind it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use awsim_core::{AwsError, Protocol, RequestContext, ServiceHandler};
use awsim_sqs::SqsService;
use serde_json::Value;

/// The library's queue service with two differences, both as on AWS: sent times have milliseconds, and queue
/// URLs contain the host that the client called. The library's own URLs contain a host that does not resolve.
pub(super) struct Handler {
    service: SqsService,
    started: (Instant, Duration),
}

impl Handler {
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { service: SqsService::new(), started: (Instant::now(), since_epoch) }
    }

    /// A message has the same sent time in every delivery, because neither part changes.
    fn sent_millis(&self, sent: Instant) -> u128 {
        let (started, since_epoch) = self.started;
        (since_epoch + sent.saturating_duration_since(started)).as_millis()
    }

    /// Gives the messages in `answer` their exact sent times. A message that has become visible again in
    /// between has no exact time here; it is removed from the answer and delivered again later.
    fn refine_sent_times(&self, answer: &mut Value, queue_url: &str, context: &RequestContext) {
        let name = queue_url.rsplit('/').next().unwrap_or(queue_url);
        let state = self.service.store().get(&context.account_id, &context.region);
        let Some(queue) = state.queues.get(name) else { return };
        let Some(messages) = answer.get_mut("Messages").and_then(Value::as_array_mut) else { return };
        messages.retain_mut(|message| {
            let handle = message.get("ReceiptHandle").and_then(Value::as_str).unwrap_or_default();
            let sent = queue.inflight.get(handle).and_then(|hidden| hidden.message.sent_at);
            if let (Some(sent), Some(shown)) = (sent, message.pointer_mut("/Attributes/SentTimestamp")) {
                *shown = self.sent_millis(sent).to_string().into();
            }
            sent.is_some()
        });
    }
}

#[async_trait]
impl ServiceHandler for Handler {
    fn service_name(&self) -> &str {
        self.service.service_name()
    }

    fn protocol(&self) -> Protocol {
        self.service.protocol()
    }

    async fn handle(
        &self,
        operation: &str,
        input: Value,
        context: &RequestContext,
    ) -> Result<Value, AwsError> {
        let queue_url = input.get("QueueUrl").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut answer = self.service.handle(operation, input, context).await?;
        match operation {
            "ReceiveMessage" => self.refine_sent_times(&mut answer, &queue_url, context),
            "CreateQueue" | "GetQueueUrl" | "ListQueues" | "ListDeadLetterSourceQueues" => {
                rebase_urls(&mut answer, &context.base_url());
            }
            _ => {}
        }
        Ok(answer)
    }
}

/// Changes the host of every queue URL in an answer to the host that the client called.
fn rebase_urls(answer: &mut Value, base: &str) {
    let Some(fields) = answer.as_object_mut() else { return };
    for (name, value) in fields {
        match value {
            Value::String(url) if name == "QueueUrl" => *url = rebased(url, base),
            Value::Array(urls) => urls.iter_mut().for_each(|url| {
                *url = rebased(url.as_str().unwrap_or_default(), base).into();
            }),
            _ => {}
        }
    }
}

fn rebased(url: &str, base: &str) -> String {
    let path: Vec<&str> = url.splitn(4, '/').skip(3).collect();
    format!("{base}/{}", path.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn queue_urls_move_to_the_host_that_the_client_called() {
        let mut one = json!({ "QueueUrl": "http://sqs.us-east-1.queue:9324/000000000000/logins" });
        rebase_urls(&mut one, "http://queue:9324");
        assert_eq!(one["QueueUrl"], "http://queue:9324/000000000000/logins");

        let mut many = json!({ "QueueUrls": ["http://a:1/0/x", "http://a:1/0/y"], "NextToken": "t" });
        rebase_urls(&mut many, "http://b:2");
        assert_eq!(many, json!({ "QueueUrls": ["http://b:2/0/x", "http://b:2/0/y"], "NextToken": "t" }));
    }

    #[test]
    fn sent_times_follow_the_clock_in_milliseconds() {
        let handler = Handler::new();
        let first = handler.sent_millis(handler.started.0 + Duration::from_millis(1_234));
        let second = handler.sent_millis(handler.started.0 + Duration::from_millis(2_235));
        assert_eq!(second - first, 1_001);
    }
}
