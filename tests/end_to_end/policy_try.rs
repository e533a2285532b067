//! `veilpost policy try`: what it shows of samples, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use veilpost_testkit::binary;

const POLICY: &str = r#"
table = "orders"
[body]
unwrap = "sns"
records = "/orders"
[[column]]
name = "tenant"
attribute = "tenant"
transform = "copy"
[[column]]
name = "email"
source = "/customer/email"
normalize = ["trim", "lowercase", "email"]
transform = "hmac-sha512"
domain = "email"
key = "k1"
[[column]]
name = "note"
source = "/note"
transform = "copy"
"#;

fn try_policy(sample: &str) -> Output {
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), POLICY).unwrap();
    let mut command = Command::new(binary("veilpost").unwrap());
    command.args(["policy", "try", "--attribute", "tenant=acme", "--policy"]).arg(policy.path());
    let command = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(sample.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn sns(event: &str) -> String {
    serde_json::json!({"Type": "Notification", "TopicArn": "t", "Message": event}).to_string() + "\n"
}

fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn every_row_of_every_sample_is_shown_with_advice() {
    let event = r#"{"orders": [{"customer": {"email": " Ann@EXAMPLE.org"}, "note": "call +49 30 901820"},
                               {"customer": {"email": "ann@example.org"}, "note": "+49 30 901820"}]}"#;
    let output = try_policy(&sns(event));
    let (shown, said) = texts(&output);
    assert!(output.status.success(), "{said}");
    assert!(shown.contains("message 1, row 2 of 2") && shown.contains("\"acme\""), "{shown}");
    let digests: Vec<_> = shown.lines().filter(|line| line.contains("hmac-sha512")).collect();
    assert!(digests.len() == 2 && digests[0] == digests[1], "one address has one digest: {shown}");
    assert!(said.contains("column note, copy: a value looks like a phone number"), "{said}");
    assert!(said.contains("messages: 1, rejected: 0, rows: 2"), "{said}");
    assert!(!said.contains("901820") && !shown.to_lowercase().contains("ann@"), "{shown}{said}");
}

#[test]
fn a_rejected_sample_is_explained_and_ends_with_status_1() {
    let output = try_policy("{\"orders\": []}\n");
    let (shown, said) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(shown.starts_with("message 1: rejected, not-wrapped"), "{shown}");
    assert!(said.contains("messages: 1, rejected: 1, rows: 0"), "{said}");
}
