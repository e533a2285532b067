//! `veilpost dead-letters` against the embedded queue.

use std::net::SocketAddr;

use aws_sdk_sqs::types::MessageAttributeValue;
use tokio::process::Command;
use veilpost_local::queue::{CREDENTIALS, EmbeddedQueue, REGION};

async fn list(endpoint: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_veilpost"));
    command.args(["dead-letters", "--queue", "letters"]);
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", REGION);
    command.env("AWS_ACCESS_KEY_ID", CREDENTIALS.0).env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1);
    let output = command.output().await.unwrap();
    let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success() && !error.contains("SECRET"), "{error}");
    out
}

#[tokio::test]
async fn every_dead_letter_is_listed_without_its_body_and_stays_in_the_queue() {
    let queue = EmbeddedQueue::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let pair = queue.create_pair("events", "letters").unwrap();
    for number in 0..25 {
        let reason = MessageAttributeValue::builder().data_type("String").string_value("not-json").build();
        let send = queue.client().send_message().queue_url(&pair.dead_letter_url).message_body("SECRET");
        let id = MessageAttributeValue::builder().data_type("String").string_value(format!("id-{number}."));
        let send = send.message_attributes("veilpost.message-id", id.build().unwrap());
        send.message_attributes("veilpost.reason", reason.unwrap()).send().await.unwrap();
    }
    for _twice in 0..2 {
        let listed = list(&queue.endpoint()).await;
        assert!(!listed.contains("SECRET"));
        assert_eq!(listed.matches("not-json").count(), 25, "{listed}");
        assert!((0..25).all(|number| listed.contains(&format!("id-{number}."))), "{listed}");
    }
}
