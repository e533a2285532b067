//! What a body looks like that a policy does not understand.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::strict::is_strict;

/// What a body looks like, and what to write in `[body]` of the policy for it; `None` when nothing is known.
/// It says nothing of the body's values.
pub(crate) fn looks_like(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => return Some("it looks like gzip: decode = [\"gzip\"]"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Some("it looks like Zstandard: decode = [\"zstd\"]"),
        _ => {}
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    match text.as_bytes().first()? {
        b'{' if is_strict(text) => of_object(text),
        b'[' => Some("it looks like an array of records: records = \"\""),
        _ => of_text(text),
    }
}

/// The keys by which an object is known, whatever is in it.
fn of_object(text: &str) -> Option<&'static str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<BTreeMap<String, &RawValue>>();
    let object = values.next()?.ok()?;
    if values.next().is_some() {
        return Some("it looks like several JSON objects one after the other: records = \"\"");
    }
    let has = |keys: &[&str]| keys.iter().all(|key| object.contains_key(*key));
    let array = |key: &str| object.get(key).is_some_and(|value| value.get().starts_with('['));
    if has(&["Type", "TopicArn", "Message"]) {
        Some("it looks like a notification of Amazon SNS: unwrap = \"sns\"")
    } else if has(&["detail-type", "source", "detail"]) {
        Some("it looks like an event of Amazon EventBridge: unwrap = \"eventbridge\"")
    } else if array("Records") {
        Some("it looks like an array of records: records = \"/Records\"")
    } else if has(&["awslogs"]) {
        Some("it looks like CloudWatch Logs: unwrap = [\"/awslogs/data\", \"base64\", \"gzip\"]")
    } else if has(&["specversion", "type", "source", "data"]) {
        Some("it looks like a CloudEvent, whose event is within: the pointers begin with /data")
    } else {
        None
    }
}

fn of_text(text: &str) -> Option<&'static str> {
    if text.starts_with("H4sI") {
        Some("it looks like gzip in Base64: decode = [\"base64\", \"gzip\"]")
    } else if text.starts_with("KLUv/") {
        Some("it looks like Zstandard in Base64: decode = [\"base64\", \"zstd\"]")
    } else if text.starts_with("eyJ") || text.starts_with("ewog") || text.starts_with("W3si") {
        Some("it looks like JSON in Base64: decode = [\"base64\"]")
    } else if text.starts_with('"') {
        Some("it looks like a JSON text that holds the event: unwrap = \"\"")
    } else if text.starts_with('<') {
        Some("it looks like XML, which is not understood")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::looks_like;

    #[test]
    fn what_a_body_looks_like_is_said_with_what_to_write() {
        for (body, advice) in [
            (r#"{"Type":"Notification","TopicArn":"a","Message":"{}"}"#, "unwrap = \"sns\""),
            (r#"{"detail-type":"d","source":"s","detail":{}}"#, "unwrap = \"eventbridge\""),
            (r#"{"Records":[{}]}"#, "records = \"/Records\""),
            (r#"[{"a":1}]"#, "records = \"\""),
            ("{\"a\":1}\n{\"a\":2}\n", "records = \"\""),
            (r#"{"awslogs":{"data":"H4sI"}}"#, "\"/awslogs/data\", \"base64\", \"gzip\""),
            (r#"{"specversion":"1.0","type":"t","source":"s","data":{}}"#, "/data"),
            ("H4sIAAAA", "[\"base64\", \"gzip\"]"),
            ("KLUv/SAA", "[\"base64\", \"zstd\"]"),
            ("eyJhIjoxfQ==", "decode = [\"base64\"]"),
            ("\"{\\\"a\\\":1}\"", "unwrap = \"\""),
        ] {
            let said = looks_like(body.as_bytes());
            assert!(said.is_some_and(|said| said.contains(advice)), "{body}: {said:?}");
        }
        assert!(looks_like(&[0x1f, 0x8b, 8]).is_some_and(|said| said.contains("gzip")));
    }

    #[test]
    fn an_ordinary_event_looks_like_nothing() {
        for body in ["{\"user_id\":\"u\"}", "{\"Records\":1}", "", "plain text", "{"] {
            assert_eq!(looks_like(body.as_bytes()), None, "{body}");
        }
    }
}
