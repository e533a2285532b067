//! Masks a batch, has the writer store what can be stored, and answers for all of it.

mod chunks;

use std::panic::AssertUnwindSafe;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tracing::Span;
use tracing::field::Empty;
use veilpost_proto::v1::{MaskedBatch, RawBatch, RawRecord, Receipt};
use veilpost_runtime::{Outgoing, telemetry};

use crate::answer::Answer;
use crate::batch::chunks::{Share, Shares};
use crate::mask::{Mask, Masked};
use crate::metrics;

/// After so many records other tasks get their turn: a few hundred microseconds.
const RECORDS_PER_TURN: u32 = 50;

/// The span of work on `batch`, within the trace that it carries.
pub(crate) fn span(batch: &RawBatch) -> Span {
    let span = tracing::info_span!(
        "veilpost.v1.Masker/Mask",
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        rpc.system.name = "grpc",
        rpc.method = "veilpost.v1.Masker/Mask",
        rpc.response.status_code = Empty,
        veilpost.pipeline = batch.pipeline,
        veilpost.batch.records = i64::try_from(batch.records.len()).unwrap_or(i64::MAX),
    );
    telemetry::parent(&span, batch.trace.as_ref());
    span
}

/// Answers `batch`. The error says that no receipt can be given, because the service aborts or a peer is at fault.
pub(crate) async fn answer(
    mask: &Mask,
    link: &mpsc::Sender<Outgoing<MaskedBatch>>,
    batch: RawBatch,
) -> Result<Receipt, Status> {
    let span = Span::current();
    let suspect = batch.suspect;
    let (mut answer, shares) = mask_all(mask, batch).await;
    let mut replies = Vec::with_capacity(shares.len());
    for Share { positions, batch } in shares {
        let (reply, receipt) = oneshot::channel();
        link.send(Outgoing { batch, reply, suspect }).await.map_err(|_| aborted())?;
        replies.push((positions, receipt));
    }
    for (positions, receipt) in replies {
        let receipt = receipt.await.map_err(|_| aborted())?;
        answer
            .merge(&positions, receipt)
            .map_err(|_| Status::internal("the writer's receipt has another length"))?;
    }
    span.record("rpc.response.status_code", "OK");
    Ok(answer.into_receipt())
}

fn aborted() -> Status {
    Status::unavailable("ending before the writer's receipt")
}

/// Rejects, leaves or shares out every record of the batch.
async fn mask_all(mask: &Mask, mut batch: RawBatch) -> (Answer, Vec<Share>) {
    let started = std::time::Instant::now();
    let now = Timestamp::now();
    let mut answer = Answer::new(batch.id, batch.records.len());
    if let Some(own) = telemetry::context_of(&Span::current()) {
        batch.trace = Some(own);
    }
    let mut shares = Shares::of(&mut batch);
    for (position, record) in (0_u32..).zip(batch.records) {
        if position % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        mask_one(mask, position, &record, now, &mut answer, &mut shares);
    }
    metrics::batch(started.elapsed());
    let shares = shares.into_vec();
    metrics::masked(shares.iter().map(|share| share.positions.len()).sum());
    (answer, shares)
}

fn mask_one(
    mask: &Mask,
    position: u32,
    record: &RawRecord,
    now: Timestamp,
    answer: &mut Answer,
    shares: &mut Shares,
) {
    // A record that uncovers a defect is left; its neighbours do not pay for it.
    let masked = std::panic::catch_unwind(AssertUnwindSafe(|| mask.apply(record, now)));
    match masked {
        Ok(Ok(Masked { record: masked, unreadable_versions })) => {
            for column in unreadable_versions {
                tracing::warn!(
                    message_id = record.message_id,
                    column,
                    "no integer before the first dot; storing NULL"
                );
                metrics::unreadable_version();
            }
            if shares.push(position, &masked).is_err() {
                leave(record, "larger than a batch may be once masked");
            }
        }
        Ok(Err(rejected)) => {
            metrics::rejected(rejected.reason);
            telemetry::note_rejection(&Span::current(), &record.message_id, rejected.reason.name());
            answer.reject(position, rejected);
        }
        Err(_) => leave(record, "masking panicked"),
    }
}

/// The answer's outcome for the record stays "leave".
fn leave(record: &RawRecord, why: &'static str) {
    tracing::error!(message_id = record.message_id, why, "leaving the message");
    metrics::left();
}
