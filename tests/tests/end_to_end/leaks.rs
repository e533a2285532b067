//! No value that went through appears in any log.

use veilpost_tests::Stack;

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
    stack.start_masker(&[loud]).await.unwrap();
    let too_long = "LEAKME-too-long".repeat(20);
    let bodies = [
        r#"{"user_id":"user-LEAKME","ip":"203.0.113.77","device_id":"device-LEAKME-1","locale":"locale-LEAKME"}"#.to_owned(),
        "LEAKME-not-json".to_owned(),
        r#"{"app_version":"LEAKME-version"}"#.to_owned(),
        format!(r#"{{"user_id":"{too_long}"}}"#),
        r#"{"user_id":{"x":"LEAKME-nested"},"ip":["203.0.113.77"]}"#.to_owned(),
        r#"{"user_id":"LEAKME-nul\u0000"}"#.to_owned(),
    ];
    for body in &bodies {
        stack.send(body).await.unwrap();
    }
    stack.start_reader(&[loud]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();
    let logs = stack.logs().unwrap();
    assert_eq!(logs.len(), 4, "reader, masker, writer and Postgres");
    assert!(logs.iter().any(|(_, text)| text.contains("not-json")), "the rejection itself is logged");
    for (file, text) in logs {
        for mark in MARKS {
            assert!(!text.contains(mark), "{mark} stands in {}", file.display());
        }
    }
}
