//! The one command of the README.

use std::process::Command;

use veilpost_tests::binary;

#[test]
fn the_demo_accounts_for_every_message() {
    let output = Command::new(binary("veilpost").unwrap())
        .args(["demo", "--messages", "100", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| summary[name].as_u64().unwrap();
    let rejected: u64 =
        summary["rejected"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(number("sent"), 100);
    assert_eq!(number("stored") + rejected, 100);
    assert_eq!(number("dead_lettered"), rejected);
    assert!(rejected >= 3, "odd events are among the first hundred");
    assert!(summary["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
    for service in ["reader", "masker", "writer"] {
        assert!(summary["rss_mib"].get(service).is_some());
    }
}
