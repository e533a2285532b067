//! Masks a batch, sends the writer what can be stored and what is rejected, and gives one receipt for all of
//! it.

mod chunks;

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tracing::Span;
use veilpost_proto::v1::{MaskedBatch, RawBatch, RawRecord, Reason, Receipt, RejectedRecord};
use veilpost_proto::{MAX_BATCH_BYTES, ReceiptBuilder};
use veilpost_runtime::{Outgoing, telemetry};

use crate::mask::{Mask, Masked, Rejected};
use crate::{metrics, spans};
use chunks::{Chunk, Chunks};

/// After this many records, some hundred microseconds of work, other tasks get their turn.
const RECORDS_PER_TURN: usize = 50;

/// Gives the receipt for `batch`. It fails when the service aborts or the writer breaks the contract.
pub(crate) async fn answer(
    mask: &Mask,
    link: &mpsc::Sender<Outgoing<MaskedBatch>>,
    batch: RawBatch,
) -> Result<Receipt, Status> {
    let suspect = batch.suspect;
    let (mut receipt, chunks) = mask_all(mask, batch).await;
    let mut replies = Vec::with_capacity(chunks.len());
    for Chunk { positions, batch } in chunks {
        let (reply, of_chunk) = oneshot::channel();
        link.send(Outgoing { batch, reply, suspect }).await.map_err(|_| aborted())?;
        replies.push((positions, of_chunk));
    }
    for (positions, of_chunk) in replies {
        let of_chunk = of_chunk.await.map_err(|_| aborted())?;
        receipt
            .merge(&positions, of_chunk)
            .map_err(|mismatch| Status::internal(format!("the writer sent {mismatch}")))?;
    }
    spans::batch_answered();
    Ok(receipt.finish())
}

fn aborted() -> Status {
    Status::unavailable("ending before the writer's receipt")
}

/// Masks every record of the batch. Gives the receipt, in which nothing is decided yet, and the records for
/// the writer. Rejected ones go there too: the writer knows whether their message was stored before.
async fn mask_all(mask: &Mask, mut batch: RawBatch) -> (ReceiptBuilder, Vec<Chunk>) {
    let started = Instant::now();
    let now = Timestamp::now();
    let receipt = ReceiptBuilder::new(batch.id, batch.records.len());
    if let Some(own) = telemetry::context_of(&Span::current()) {
        batch.trace = Some(own);
    }
    let mut chunks = Chunks::of(&mut batch);
    let mut rows = 0_u64;
    for (position, record) in batch.records.into_iter().enumerate() {
        if position % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        rows += u64::from(mask_one(mask, position, &record, now, &mut chunks));
    }
    metrics::record_batch(started.elapsed());
    let chunks = chunks.into_vec();
    metrics::count_masked(chunks.iter().map(|chunk| chunk.batch.records.len()).sum());
    metrics::count_rows(rows);
    (receipt, chunks)
}

/// Returns how many rows the record becomes.
fn mask_one(mask: &Mask, position: usize, record: &RawRecord, now: Timestamp, chunks: &mut Chunks) -> u32 {
    // A record that makes the masker panic is left in the queue; the other records of its batch go on.
    let masked = std::panic::catch_unwind(AssertUnwindSafe(|| mask.apply(record, now)));
    match masked {
        Ok(Ok(masked)) => {
            warn_of_unreadable(record, &masked.unreadable_versions);
            warn_of_unknown(mask, record, &masked);
            if chunks.push(position, &masked.record).is_ok() {
                return masked.record.rows.unwrap_or(1);
            }
            let detail = format!("masked, the message is larger than {} MiB", MAX_BATCH_BYTES / 1024 / 1024);
            reject(position, record, Rejected { reason: Reason::TooLarge, detail }, chunks);
        }
        Ok(Err(rejected)) => reject(position, record, rejected, chunks),
        Err(_) => give_up(position, record, "masking panicked", chunks),
    }
    0
}

fn reject(position: usize, record: &RawRecord, rejected: Rejected, chunks: &mut Chunks) {
    let Rejected { reason, detail } = rejected;
    metrics::count_rejected(reason);
    telemetry::note_rejection(&Span::current(), &record.message_id, reason.name());
    let rejected = RejectedRecord {
        message_id: record.message_id.clone(),
        sent_timestamp_ms: record.sent_timestamp_ms,
        reason: reason.into(),
        detail,
        last_receive: record.last_receive,
    };
    if chunks.reject(position, rejected).is_err() {
        leave(record, "its rejection is larger than a batch may be");
    }
}

/// Leaves the message for another try, or rejects it when there will be none.
fn give_up(position: usize, record: &RawRecord, why: &'static str, chunks: &mut Chunks) {
    if record.last_receive {
        reject(position, record, Rejected { reason: Reason::Undecided, detail: why.to_owned() }, chunks);
    } else {
        leave(record, why);
    }
}

fn warn_of_unreadable(record: &RawRecord, columns: &[&str]) {
    for column in columns {
        let message_id = &record.message_id;
        tracing::warn!(message_id, column, "no integer before the first dot; storing NULL");
        metrics::count_unreadable_version();
    }
}

/// Rows of which every field is NULL tell nothing, and their messages are deleted: somebody has to know.
fn warn_of_unknown(mask: &Mask, record: &RawRecord, masked: &Masked<'_>) {
    if masked.unknown_rows == 0 {
        return;
    }
    metrics::count_unknown(masked.unknown_rows);
    let guess = masked.guess.unwrap_or("no pointer of the policy leads anywhere");
    if mask.unknown.note_failure(guess) {
        let message_id = &record.message_id;
        tracing::warn!(message_id, guess, "a record has none of the policy's fields; all of them are NULL");
    }
}

/// Leaves the message in the queue: its outcome in the receipt stays unspecified.
fn leave(record: &RawRecord, why: &'static str) {
    tracing::error!(message_id = record.message_id, why, "leaving the message");
    metrics::count_left();
}
