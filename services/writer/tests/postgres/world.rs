//! A database and a writer of a test's own, and a masker's side of the streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::writer_client::WriterClient;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, Reason, Receipt, Target, Value};
use veilpost_runtime::Lifecycle;
use veilpost_writer::{Arguments, Writer, WriterCommand, migrate};

use crate::cluster::{Cluster, free_port};

pub(crate) const STORED: u8 = 1;
pub(crate) const DUPLICATE: u8 = 2;
pub(crate) const REJECTED: u8 = 3;
pub(crate) const LEFT: u8 = 0;

/// A database whose owner is no superuser, as in real life.
pub(crate) struct World {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) database: String,
}

/// A writer that runs until dropped or stopped.
pub(crate) struct Running {
    pub(crate) life: Lifecycle,
    address: String,
    tasks: JoinSet<anyhow::Result<()>>,
}

pub(crate) struct Stream {
    batches: mpsc::Sender<MaskedBatch>,
    receipts: Streaming<Receipt>,
    next_id: u64,
}

impl World {
    /// A new database in which `setup` has been run.
    pub(crate) async fn new(setup: &str) -> Self {
        let world = Self::without_database();
        world.create_database().await;
        world.sql(setup).await;
        world
    }

    pub(crate) fn without_database() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { cluster: Cluster::shared(), database }
    }

    pub(crate) async fn create_database(&self) {
        let mut admin = connect(&self.cluster.url("admin", "postgres")).await;
        let role = format!("CREATE ROLE {} LOGIN", self.database);
        sqlx::query(AssertSqlSafe(role)).execute(&mut admin).await.unwrap();
        let database = format!("CREATE DATABASE {0} OWNER {0}", self.database);
        sqlx::query(AssertSqlSafe(database)).execute(&mut admin).await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.url(&self.database, &self.database)
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        connect(&self.url()).await
    }

    pub(crate) async fn connect_as(&self, role: &str) -> PgConnection {
        connect(&self.cluster.url(role, &self.database)).await
    }

    /// A role that may do nothing yet.
    pub(crate) async fn create_writer_role(&self) -> String {
        let role = format!("{}_writer", self.database);
        let created = sqlx::raw_sql(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN")));
        created.execute(&mut self.connect_as_admin().await).await.unwrap();
        role
    }

    /// Migrates as the owner, with further arguments.
    pub(crate) async fn migrate(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let url = self.url();
        let own = ["veilpost-writer", "migrate", "--database-url", &url];
        let arguments = Arguments::try_parse_from([&own, arguments].concat()).unwrap();
        let Some(WriterCommand::Migrate(settings)) = arguments.command else { panic!("not migrate") };
        migrate(settings, Lifecycle::for_tests()).await
    }

    pub(crate) async fn connect_as_admin(&self) -> PgConnection {
        connect(&self.cluster.url("admin", &self.database)).await
    }

    pub(crate) async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connect().await).await.unwrap();
    }

    /// The single text that a query returns.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let value: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connect().await).await.unwrap();
        value.unwrap_or_else(|| "NULL".to_owned())
    }

    pub(crate) async fn count(&self, table: &str) -> usize {
        self.text(&format!("SELECT count(*)::text FROM {table}")).await.parse().unwrap()
    }

    /// A writer with further arguments, not yet ready.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_as(&self.database, arguments)
    }

    /// A writer that logs in as another role.
    pub(crate) fn start_as(&self, role: &str, arguments: &[&str]) -> Running {
        let (url, address) = (self.cluster.url(role, &self.database), format!("127.0.0.1:{}", free_port()));
        let own = ["veilpost-writer", "--database-url", &url, "--listen-address", &address];
        let settings = Arguments::try_parse_from([&own, arguments].concat()).unwrap().settings;
        let life = Lifecycle::for_tests();
        let mut tasks = JoinSet::new();
        tasks.spawn(Writer::new(settings).unwrap().run(life.clone()));
        Running { life, address: format!("http://{address}"), tasks }
    }

    pub(crate) async fn ready(&self, arguments: &[&str]) -> Running {
        let running = self.start(arguments);
        running.wait_until_ready().await;
        running
    }
}

async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

impl Running {
    pub(crate) async fn wait_until_ready(&self) {
        for _ in 0..300 {
            if self.life.is_ready() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the writer did not become ready");
    }

    /// Drains and waits for a clean end.
    pub(crate) async fn stop(mut self) {
        self.life.start_drain();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
        self.life.tasks_ended().await;
    }

    pub(crate) async fn send_first(&self, first: MaskedBatch) -> Result<Stream, Status> {
        let mut client = connect_client(&self.address).await;
        let (batches, queue) = mpsc::channel(16);
        batches.send(first).await.unwrap();
        let receipts = client.write(ReceiverStream::new(queue)).await?.into_inner();
        Ok(Stream { batches, receipts, next_id: 1 })
    }

    pub(crate) async fn open(&self, table: &str, columns: &[&str]) -> Result<Stream, Status> {
        let columns = columns.iter().map(ToString::to_string).collect();
        let target = Some(Target { table: table.to_owned(), columns });
        self.send_first(MaskedBatch { target, ..MaskedBatch::default() }).await
    }
}

async fn connect_client(address: &str) -> WriterClient<tonic::transport::Channel> {
    for _ in 0..100 {
        if let Ok(client) = WriterClient::connect(address.to_owned()).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no connection to the writer");
}

impl Stream {
    /// Sends a batch without waiting for its receipt.
    pub(crate) async fn send(&mut self, records: Vec<MaskedRecord>) {
        let records = MaskedBatch::encoded(records);
        let batch =
            MaskedBatch { id: self.next_id, pipeline: "p".to_owned(), records, ..MaskedBatch::default() };
        self.next_id += 1;
        self.batches.send(batch).await.unwrap();
    }

    pub(crate) async fn receipt(&mut self) -> Result<Receipt, Status> {
        let receipt = tokio::time::timeout(Duration::from_mins(1), self.receipts.message()).await;
        receipt.expect("a receipt in time").map(|receipt| receipt.expect("the stream is open"))
    }

    /// Sends a batch and returns its outcomes.
    pub(crate) async fn store(&mut self, records: Vec<MaskedRecord>) -> Receipt {
        self.send(records).await;
        self.receipt().await.unwrap()
    }

    /// The status with which the stream ends.
    pub(crate) async fn end(&mut self) -> Code {
        self.receipt().await.expect_err("the stream ends").code()
    }
}

pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A record sent just now.
pub(crate) fn record(message_id: impl std::fmt::Display, values: Vec<Value>) -> MaskedRecord {
    // The sent time is part of the key, so it must be the same in every delivery of a message.
    static START: std::sync::LazyLock<i64> = std::sync::LazyLock::new(now_ms);
    MaskedRecord { message_id: format!("{message_id}"), sent_timestamp_ms: *START, values }
}

pub(crate) fn text(text: &str) -> Value {
    Value { kind: Some(Kind::Text(text.to_owned())) }
}

pub(crate) fn number(text: &str) -> Value {
    Value { kind: Some(Kind::Number(text.to_owned())) }
}

pub(crate) fn boolean(boolean: bool) -> Value {
    Value { kind: Some(Kind::Boolean(boolean)) }
}

pub(crate) fn json(text: &str) -> Value {
    Value { kind: Some(Kind::Json(text.to_owned())) }
}

pub(crate) fn null() -> Value {
    Value { kind: None }
}

/// The reason and detail of a receipt's only rejection.
pub(crate) fn only_rejection(receipt: &Receipt) -> (Reason, &str) {
    assert_eq!(receipt.rejections.len(), 1, "{receipt:?}");
    (receipt.rejections[0].reason(), &receipt.rejections[0].detail)
}
