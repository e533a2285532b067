//! Events as AWS delivers them to queues: the services read what an emulator's SNS, EventBridge and S3 have
//! put there. `tests/emulator/run` starts the emulator and names its file of cases.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_sdk_sqs::config::{Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use serde::Deserialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};
use veilpost_testkit::{Stack, eventually};

/// Names the file that the emulator has written.
const EMULATOR: &str = "VEILPOST_EMULATOR";

#[derive(Deserialize)]
struct Emulator {
    endpoint: String,
    cases: Vec<Case>,
}

/// A queue that holds what AWS delivered, and what must become of it.
#[derive(Deserialize)]
struct Case {
    queue: String,
    policy: String,
    table: String,
    columns: Vec<String>,
    rows: Vec<Value>,
    /// The reason of each dead letter.
    rejected: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the emulator that tests/emulator/run starts"]
async fn what_aws_delivers_becomes_rows() {
    let file = std::env::var_os(EMULATOR).unwrap();
    let emulator: Emulator = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(!emulator.cases.is_empty());
    for case in &emulator.cases {
        run(&emulator.endpoint, case).await;
    }
}

async fn run(endpoint: &str, case: &Case) {
    let mut stack = Stack::bare().await.unwrap();
    let columns = case.columns.iter().map(|column| format!("{column} text")).collect::<Vec<_>>().join(", ");
    let create = format!("CREATE TABLE {} ({columns})", case.table);
    stack.database().await.unwrap().execute(AssertSqlSafe(create)).await.unwrap();
    let policy = stack.file("policy.toml", &case.policy).unwrap();
    stack.start_writer(&[("--table", &case.table)]).await.unwrap();
    stack.start_masker(&[("--policy", policy.to_str().unwrap())]).await.unwrap();
    let dead_letters = format!("{}-dead-letter", case.queue);
    let queues = [("--queue", case.queue.as_str()), ("--dead-letter-queue-url", &dead_letters)];
    stack.start_reader_at(endpoint, &queues).await.unwrap();
    let sqs = client(endpoint);
    eventually("an empty queue", async || match waiting(&sqs, &case.queue).await {
        0 => Ok(()),
        left => Err(format!("{}: {left} messages are left", case.queue)),
    })
    .await
    .unwrap();
    assert_eq!(rows(&stack, case).await, sorted(&case.rows), "{}", case.queue);
    assert_eq!(reasons(&sqs, &dead_letters).await, case.rejected, "{}", case.queue);
    stack.stop().await.unwrap();
}

fn client(endpoint: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version_latest()
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("veilpost", "veilpost", None, None, "test"));
    aws_sdk_sqs::Client::from_conf(config.build())
}

async fn url(sqs: &aws_sdk_sqs::Client, queue: &str) -> String {
    sqs.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap()
}

/// How many messages are in the queue, hidden ones too.
async fn waiting(sqs: &aws_sdk_sqs::Client, queue: &str) -> u64 {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let ask = sqs.get_queue_attributes().queue_url(url(sqs, queue).await);
    let found = ask.set_attribute_names(Some(names.to_vec())).send().await.unwrap().attributes.unwrap();
    names.iter().map(|name| found.get(name).unwrap().parse::<u64>().unwrap()).sum()
}

/// The reasons of the dead letters.
async fn reasons(sqs: &aws_sdk_sqs::Client, queue: &str) -> Vec<String> {
    let receive = sqs.receive_message().queue_url(url(sqs, queue).await).max_number_of_messages(10);
    let messages = receive.message_attribute_names("All").send().await.unwrap().messages.unwrap_or_default();
    let reason = |message: &aws_sdk_sqs::types::Message| {
        message.message_attributes.as_ref()?.get("veilpost.reason")?.string_value.clone()
    };
    messages.iter().map(|message| reason(message).unwrap()).collect()
}

/// The table's rows, as they compare.
async fn rows(stack: &Stack, case: &Case) -> Vec<Value> {
    let query = format!("SELECT to_jsonb(stored)::text FROM {} stored", case.table);
    let mut database = stack.database().await.unwrap();
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut database).await.unwrap();
    sorted(&rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect::<Vec<_>>())
}

/// By their text; the keys of a `Value` are sorted.
fn sorted(rows: &[Value]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(Value::to_string);
    rows
}
