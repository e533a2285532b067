//! No value that went through appears in any log.

use veilpost_tests::{SqsGate, Stack};

const DEFAULT_POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/policies/user_logins.toml");

const KEYED: &str = r#"
[[column]]
name = "keyed_ip"
source = "/ip"
transform = "hmac-sha512"
domain = "ip"
key = "k1"
"#;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Values that stand nowhere else, one for each way a value can take.
const MARKS: [&str; 9] = [
    "203.0.113.77",
    "device-LEAKME-1",
    "locale-LEAKME",
    "user-LEAKME",
    "LEAKME-not-json",
    "LEAKME-version",
    "LEAKME-too-long",
    "LEAKME-nested",
    "LEAKME-nul",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_clear_text_value_appears_in_any_log() {
    let mut stack = Stack::bare().await.unwrap();
    let loud = ("--log", "trace");
    stack.start_writer(&[loud]).await.unwrap();
    let mut database = stack.database().await.unwrap();
    let changes = "ALTER TABLE user_logins ADD COLUMN keyed_ip text, ADD CONSTRAINT known CHECK (locale <> 'locale-CHECK')";
    sqlx::raw_sql(changes).execute(&mut database).await.unwrap();
    let policy = format!("{}{KEYED}", std::fs::read_to_string(DEFAULT_POLICY).unwrap());
    let policy = stack.file("policy.toml", &policy).unwrap();
    let keys = stack.file("keys", &format!("k1={KEY}\n")).unwrap();
    let (policy, keys) = (policy.to_str().unwrap(), keys.to_str().unwrap());
    stack.start_masker(&[loud, ("--policy", policy), ("--hmac-keys-file", keys)]).await.unwrap();
    let too_long = "LEAKME-too-long".repeat(20);
    let bodies = [
        r#"{"user_id":"user-LEAKME","ip":"203.0.113.77","device_id":"device-LEAKME-1","locale":"locale-LEAKME"}"#.to_owned(),
        "LEAKME-not-json".to_owned(),
        r#"{"app_version":"LEAKME-version"}"#.to_owned(),
        format!(r#"{{"user_id":"{too_long}"}}"#),
        r#"{"user_id":{"x":"LEAKME-nested"},"ip":["203.0.113.77"]}"#.to_owned(),
        r#"{"user_id":"LEAKME-nul\u0000"}"#.to_owned(),
        r#"{"user_id":"user-LEAKME","locale":"locale-CHECK"}"#.to_owned(),
    ];
    for body in &bodies {
        stack.send(body).await.unwrap();
    }
    let gate = SqsGate::before(stack.queue.address()).await.unwrap();
    stack.start_reader_at(&gate.endpoint(), &[loud]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();
    let logs = stack.logs().unwrap();
    assert_eq!(logs.len(), 4, "reader, masker, writer and Postgres");
    assert!(logs.iter().any(|(_, text)| text.contains("not-json")), "the rejection itself is logged");
    let lines = logs.iter().flat_map(|(_, text)| text.lines());
    let sdk = lines.filter(|line| line.contains("\"target\":\"aws_") && line.contains("\"level\":\"DEBUG\""));
    assert_eq!(sdk.count(), 0, "the AWS SDK's debug lines name access keys");
    let handles = gate.handles();
    assert!(handles.len() >= bodies.len());
    let password = stack.postgres.url().split(['@', ':']).nth(2).unwrap().to_owned();
    let secrets = handles.iter().map(String::as_str).chain(MARKS).chain([KEY, password.as_str()]);
    for secret in secrets {
        for (file, text) in &logs {
            assert!(!text.contains(secret), "{secret} stands in {}", file.display());
        }
    }
}
