//! A masker as the writer sees it: streams of batches, and the records in them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::writer_client::WriterClient;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, Reason, Receipt, RejectedRecord, Target, Value};

use crate::running_writer::RunningWriter;

pub(crate) const STORED: u8 = 1;
pub(crate) const DUPLICATE: u8 = 2;
pub(crate) const REJECTED: u8 = 3;
pub(crate) const LEFT: u8 = 0;

/// A stream whose target the writer has accepted.
pub(crate) struct MaskerStream {
    batches: mpsc::Sender<MaskedBatch>,
    receipts: Streaming<Receipt>,
    next_id: u64,
}

impl RunningWriter {
    /// Opens a stream with any first message.
    pub(crate) async fn send_first(&self, first: MaskedBatch) -> Result<MaskerStream, Status> {
        let mut client = connect_client(&self.address).await;
        let (batches, queue) = mpsc::channel(16);
        batches.send(first).await.unwrap();
        let receipts = client.write(ReceiverStream::new(queue)).await?.into_inner();
        Ok(MaskerStream { batches, receipts, next_id: 1 })
    }

    /// Opens a stream as a masker does.
    pub(crate) async fn open(&self, table: &str, columns: &[&str]) -> Result<MaskerStream, Status> {
        self.open_target(Target { table: table.to_owned(), columns: names(columns), on_conflict: None }).await
    }

    /// Opens a stream for any target.
    pub(crate) async fn open_target(&self, target: Target) -> Result<MaskerStream, Status> {
        self.send_first(MaskedBatch { target: Some(target), ..MaskedBatch::default() }).await
    }
}

pub(crate) fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(ToString::to_string).collect()
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

impl MaskerStream {
    /// Sends a batch without waiting for its receipt.
    pub(crate) async fn send(&mut self, records: Vec<MaskedRecord>) {
        self.send_with_rejected(records, Vec::new()).await;
    }

    /// Sends a batch of which the masker rejects some records.
    pub(crate) async fn send_with_rejected(
        &mut self,
        records: Vec<MaskedRecord>,
        rejected: Vec<RejectedRecord>,
    ) {
        let (id, pipeline, records) = (self.next_id, "p".to_owned(), MaskedBatch::encoded(records));
        let batch = MaskedBatch { id, pipeline, records, rejected, ..MaskedBatch::default() };
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
    MaskedRecord {
        message_id: format!("{message_id}"),
        sent_timestamp_ms: *START,
        values,
        ..MaskedRecord::default()
    }
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
