//! Answers as SQS gives them in its JSON protocol, made up or changed.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

const JSON: &str = "application/x-amz-json-1.0";

/// An error of SQS. <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>
pub(super) fn error(status: StatusCode, code: &str) -> Response {
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let headers = [
        (CONTENT_TYPE, JSON.to_owned()),
        (HeaderName::from_static("x-amzn-query-error"), format!("{code};{fault}")),
    ];
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "made up by a test" });
    (status, headers, body.to_string()).into_response()
}

pub(super) fn success(body: &Value) -> Response {
    ([(CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

/// What a broken proxy between client and SQS might say.
pub(super) fn garbage() -> Response {
    ([(CONTENT_TYPE, "text/html")], "<html>this is not SQS</html>").into_response()
}

/// Moves the entries with these ids from the successful to the failed ones.
pub(super) fn with_failed(mut answer: Value, ids: &[String], code: &str, sender_fault: bool) -> Value {
    let is_failed = |entry: &Value| {
        let id = entry.get("Id").and_then(Value::as_str);
        id.is_some_and(|id| ids.iter().any(|failed| failed == id))
    };
    for list in ["Successful", "Failed"] {
        if let Some(entries) = answer.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(|entry| !is_failed(entry));
        }
    }
    let failed = ids.iter().map(|id| json!({ "Id": id, "Code": code, "SenderFault": sender_fault }));
    if let Some(fields) = answer.as_object_mut() {
        fields.entry("Successful").or_insert_with(|| json!([]));
        let list = fields.entry("Failed").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.extend(failed);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_entries_are_no_longer_successful() {
        let answer = json!({ "Successful": [{ "Id": "0" }, { "Id": "1" }] });
        let changed = with_failed(answer, &["1".to_owned()], "InternalError", false);
        assert_eq!(changed["Successful"], json!([{ "Id": "0" }]));
        assert_eq!(changed["Failed"], json!([{ "Id": "1", "Code": "InternalError", "SenderFault": false }]));
    }
}
