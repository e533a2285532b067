//! Receiving messages.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::content::{WireValue, wire};
use crate::queue::server::call::{Call, output, queue_name, seconds, within};
use crate::queue::server::shared::Receive;
use crate::queue::state::{Attribute, Delivery, SqsError, hex, md5_of_attributes};

const MAX_WAIT_SECONDS: i64 = 20;
const MAX_VISIBILITY_SECONDS: i64 = 43_200;

/// Who sent every message. SQS has an id of the caller's here.
const SENDER: &str = "AIDAVEILPOSTEMBEDDED";

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wanted<'a> {
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    /// The older name of the next field.
    attribute_names: Vec<String>,
    message_system_attribute_names: Vec<String>,
    message_attribute_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Received<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<WireMessage<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireMessage<'a> {
    message_id: String,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: String,
    body: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_attributes: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<&'a str, WireValue>,
}

pub(super) async fn receive(call: &Call<'_>) -> Result<Vec<u8>, SqsError> {
    let wanted: Wanted<'_> = call.input()?;
    let most = within("MaxNumberOfMessages", wanted.max_number_of_messages.unwrap_or(1), 1, 10)?;
    let receive = Receive {
        queue: queue_name(&wanted.queue_url)?,
        most: usize::try_from(most).unwrap_or(1),
        visibility: seconds("VisibilityTimeout", wanted.visibility_timeout, MAX_VISIBILITY_SECONDS)?,
        wait: seconds("WaitTimeSeconds", wanted.wait_time_seconds, MAX_WAIT_SECONDS)?,
    };
    let deliveries = call.shared.receive(&receive).await?;
    let messages = deliveries.iter().map(|delivery| wanted.shown(delivery)).collect();
    output(&Received { messages })
}

impl Wanted<'_> {
    fn shown<'a>(&self, delivery: &'a Delivery) -> WireMessage<'a> {
        let content = &delivery.message.content;
        let attributes: Vec<&Attribute> =
            content.attributes.iter().filter(|attribute| self.wants(&attribute.name)).collect();
        WireMessage {
            message_id: delivery.message.id.to_string(),
            receipt_handle: delivery.handle.to_string(),
            md5_of_body: hex(content.md5_of_body),
            body: &content.body,
            attributes: self.system_attributes(delivery),
            md5_of_attributes: (!attributes.is_empty())
                .then(|| hex(md5_of_attributes(attributes.iter().copied()))),
            message_attributes: wire(attributes),
        }
    }

    /// Whether a message attribute is asked for: by name, as one of all, or by the beginning of its name.
    fn wants(&self, name: &str) -> bool {
        self.message_attribute_names.iter().any(|wanted| {
            let prefix = wanted.strip_suffix(".*");
            wanted == "All" || wanted == name || prefix.is_some_and(|prefix| name.starts_with(prefix))
        })
    }

    fn system_attributes(&self, delivery: &Delivery) -> BTreeMap<&'static str, String> {
        let message = &delivery.message;
        let all = [
            ("ApproximateFirstReceiveTimestamp", message.first_received.map(|time| time.to_string())),
            ("ApproximateReceiveCount", Some(message.receives.to_string())),
            ("AWSTraceHeader", message.content.trace_header.as_deref().map(str::to_owned)),
            ("DeadLetterQueueSourceArn", message.source.as_deref().map(str::to_owned)),
            ("SenderId", Some(SENDER.to_owned())),
            ("SentTimestamp", Some(delivery.sent.to_string())),
        ];
        let asked = || self.attribute_names.iter().chain(&self.message_system_attribute_names);
        let is_asked = |name: &str| asked().any(|wanted| wanted == "All" || wanted == name);
        let shown = all.into_iter().filter(|(name, _)| is_asked(name));
        shown.filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_attributes_are_asked_for_by_name_by_prefix_or_all() {
        let wants = |wanted: &str, name| {
            Wanted { message_attribute_names: vec![wanted.to_owned()], ..Wanted::default() }.wants(name)
        };
        assert!(wants("All", "a") && wants(".*", "a") && wants("veilpost.*", "veilpost.reason"));
        assert!(wants("a", "a") && !wants("a", "ab") && !wants("b.*", "a") && !wants("all", "a"));
    }
}
