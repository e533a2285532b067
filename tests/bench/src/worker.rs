//! One side of a comparison in a process of its own, so that its CPU time and memory are its own.

use std::process::{ExitCode, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use clap::Subcommand;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::Notify;
use veilpost_local::output::print;
use veilpost_local::process::Child;
use veilpost_local::queue::{Call, client_for, in_one_line};
use veilpost_masker::{HmacKeys, Mask, Policy};
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{RawRecord, Value};

use crate::cpu::own_cpu;
use crate::queue::messages_left;

const READY: &str = "ready";

/// The variable with the database's URL, because every user of the machine can read a command line.
const DATABASE_URL: &str = "VEILPOST_BENCH_DATABASE_URL";

/// What the process does.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Work {
    /// Receive and delete, several calls at once, and nothing else
    Drain { endpoint: String, url: String, count: u64, calls: u16 },
    /// Receive one, mask it, delete it, connect, insert one row; one after the other
    Today { endpoint: String, url: String, count: u64 },
}

/// The time and CPU time that the work took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Effort {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

/// A worker that is ready.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Worker {
    /// `database_url` may be empty where none is needed.
    pub(crate) async fn start(work: &Work, database_url: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").args(work.arguments()).env(DATABASE_URL, database_url);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Child::start("worker", &mut command)?;
        let (output, errors) = child.take_output().context("a worker has no output")?;
        let (output, errors) = (BufReader::new(output).lines(), BufReader::new(errors).lines());
        let mut worker = Self { child, output, errors };
        let line = worker.line().await?;
        anyhow::ensure!(line == READY, "a worker said {line}");
        Ok(worker)
    }

    /// Waits for the worker's end.
    pub(crate) async fn effort(mut self) -> anyhow::Result<Effort> {
        let line = self.line().await?;
        let status = self.child.wait().await?;
        anyhow::ensure!(status.success(), "a worker ended with {status}");
        Ok(serde_json::from_str(&line)?)
    }

    /// The worker's next line. A worker that ends first has written its error.
    async fn line(&mut self) -> anyhow::Result<String> {
        if let Some(line) = self.output.next_line().await? {
            return Ok(line);
        }
        let why = self.errors.next_line().await?.unwrap_or_default();
        anyhow::bail!("a worker ended without a result: {why}")
    }
}

impl Work {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Drain { endpoint, url, count, calls } => {
                vec!["drain".into(), endpoint.clone(), url.clone(), count.to_string(), calls.to_string()]
            }
            Self::Today { endpoint, url, count } => {
                vec!["today".into(), endpoint.clone(), url.clone(), count.to_string()]
            }
        }
    }

    /// The worker's own main. What the first call of an SDK costs is not counted.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let (endpoint, url) = match &self {
            Self::Drain { endpoint, url, .. } | Self::Today { endpoint, url, .. } => (endpoint, url),
        };
        let client = client_for(endpoint);
        messages_left(&client, url).await?;
        print(&format!("{READY}\n"))?;
        let before = own_cpu()?;
        let seconds = match self {
            Self::Drain { ref url, count, calls, .. } => drain(&client, url, count, calls).await?,
            Self::Today { ref url, count, .. } => one_at_a_time(&client, url, count).await?,
        };
        let effort = Effort { seconds, cpu_seconds: own_cpu()? - before };
        print(&format!("{}\n", serde_json::to_string(&effort)?))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the seconds since the first message came.
async fn drain(client: &Client, url: &str, count: u64, calls: u16) -> anyhow::Result<f64> {
    let deleted = AtomicU64::new(0);
    let (first, done) = (OnceLock::new(), Notify::new());
    let call = async || -> anyhow::Result<()> {
        loop {
            let messages = receive(client, url, 10).await?;
            if messages.is_empty() {
                continue;
            }
            first.get_or_init(Instant::now);
            let taken = delete(client, url, &messages).await?;
            if deleted.fetch_add(taken, Ordering::Relaxed) + taken >= count {
                done.notify_one();
            }
        }
    };
    tokio::select! {
        ended = try_join_all((0..calls).map(|_| call())) => drop(ended?),
        () = done.notified() => {}
    }
    Ok(first.get().map_or(0.0, |first| first.elapsed().as_secs_f64()))
}

async fn receive(client: &Client, url: &str, count: i32) -> anyhow::Result<Vec<Message>> {
    let request = client.receive_message().queue_url(url).max_number_of_messages(count);
    let request = request.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
    let answer = request.wait_time_seconds(1).visibility_timeout(60).send().await;
    Ok(answer.map_err(|error| in_one_line(&error, Call::Receive))?.messages.unwrap_or_default())
}

async fn delete(client: &Client, url: &str, messages: &[Message]) -> anyhow::Result<u64> {
    let entry = |(id, message): (usize, &Message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
        entry.set_receipt_handle(message.receipt_handle.clone()).build()
    };
    let entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    let request = client.delete_message_batch().queue_url(url).set_entries(Some(entries));
    let answer = request.send().await.map_err(|error| in_one_line(&error, Call::Send))?;
    Ok(u64::try_from(answer.successful.len())?)
}

/// The naive loop: a crash after the delete loses the message.
async fn one_at_a_time(client: &Client, url: &str, count: u64) -> anyhow::Result<f64> {
    let database_url = std::env::var(DATABASE_URL)?;
    let mask = Mask::new(&Policy::load(None)?, &HmacKeys::default())?;
    let started = Instant::now();
    let mut done = 0;
    while done < count {
        for message in receive(client, url, 1).await? {
            let values = masked(&mask, &message)?;
            let request = client.delete_message().queue_url(url);
            let deleted = request.set_receipt_handle(message.receipt_handle).send().await;
            deleted.map_err(|error| in_one_line(&error, Call::Delete))?;
            insert_one(&database_url, &values).await?;
            done += 1;
        }
    }
    Ok(started.elapsed().as_secs_f64())
}

fn masked(mask: &Mask, message: &Message) -> anyhow::Result<Vec<Value>> {
    let record = RawRecord {
        message_id: message.message_id.clone().unwrap_or_default(),
        body: message.body.clone().map(Into::into),
        ..RawRecord::default()
    };
    let masked = mask.apply(&record, Timestamp::now());
    Ok(masked.map_err(|_| anyhow::anyhow!("a record was rejected"))?.record.values)
}

async fn insert_one(database_url: &str, values: &[Value]) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(database_url).await?;
    let query = "INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, \
                 create_date) VALUES ($1, $2, $3, $4, $5, $6::text::integer, $7::text::date)";
    let query = values.iter().fold(sqlx::query(query), |query, value| query.bind(text(value)));
    query.execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::Text(text) | Kind::Number(text) | Kind::Json(text)) => Some(text),
        Some(Kind::Boolean(boolean)) => Some(if *boolean { "true" } else { "false" }),
        None => None,
    }
}
