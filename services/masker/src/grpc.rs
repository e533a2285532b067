//! The gRPC server: batches in, receipts out, stream by stream.

#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, Span};
use veilpost_proto::v1::{RawBatch, Receipt, masker_server::Masker};
use veilpost_runtime::{ByteBudget, ByteBudgetPermit, Feature, Lifecycle, numbers, telemetry};

use crate::policy_in_force::{PolicyInForce, refused_in_force};
use crate::{batch, spans};

/// Batches of one stream that may be without a receipt at once. Few are in work, but the writer may hold
/// many. All of them together are bounded by the budget of bytes.
const BATCHES_AT_ONCE: u32 = 64;

type ReceiptSender = mpsc::Sender<Result<Receipt, Status>>;

/// Serves streams; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct MaskerService {
    policy: watch::Receiver<Arc<PolicyInForce>>,
    /// Bytes of raw batches that may be in work on all streams together.
    budget: ByteBudget,
    life: Lifecycle,
}

/// What one batch takes up until its receipt is on its way: one of its stream's places, and memory.
struct BatchPermit {
    _place: OwnedSemaphorePermit,
    _bytes: ByteBudgetPermit,
}

impl MaskerService {
    pub(crate) fn new(
        policy: watch::Receiver<Arc<PolicyInForce>>,
        budget: ByteBudget,
        life: Lifecycle,
    ) -> Self {
        Self { policy, budget, life }
    }

    /// Serves one stream: takes batches until the stream or the service ends or a batch fails. The stream
    /// itself ends only when every batch that was taken has been answered, or given back because the writers
    /// refuse the policy's table or columns.
    async fn serve_stream(
        self,
        mut batches: impl Stream<Item = Result<RawBatch, Status>> + Unpin,
        receipts: ReceiptSender,
        has_attributes: bool,
    ) {
        let places = Arc::new(Semaphore::new(numbers::to_usize(BATCHES_AT_ONCE)));
        let (failed, mut failures) = mpsc::channel(1);
        let mut refused = pin!(refused_in_force(self.policy.clone()));
        let mut end = loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break None };
            let batch = tokio::select! {
                biased;
                () = self.life.draining() => break Some(Status::unavailable("draining")),
                Some(status) = failures.recv() => break Some(status),
                status = &mut refused => break Some(status),
                batch = batches.next() => batch,
            };
            match batch {
                Some(Ok(batch)) => {
                    let bytes = self.budget.acquire(prost::Message::encoded_len(&batch)).await;
                    let permit = BatchPermit { _place: place, _bytes: bytes };
                    let policy = Arc::clone(&self.policy.borrow());
                    // The policy may have been replaced since the stream was opened.
                    if lacks_attributes(&policy, has_attributes) {
                        break Some(no_attributes());
                    }
                    self.start(policy, batch, permit, receipts.clone(), failed.clone());
                }
                Some(Err(status)) => break Some(status),
                None => break None,
            }
        };
        let all_answered = places.acquire_many(BATCHES_AT_ONCE).await;
        end = failures.try_recv().ok().or(end);
        if let Some(status) = end {
            // This fails only when the client has gone away.
            receipts.send(Err(status)).await.ok();
        }
        drop(all_answered);
    }

    /// Starts the work on a batch.
    fn start(
        &self,
        policy: Arc<PolicyInForce>,
        batch: RawBatch,
        permit: BatchPermit,
        receipts: ReceiptSender,
        failed: mpsc::Sender<Status>,
    ) {
        let span = spans::batch(&batch);
        let work = async move {
            let answered = tokio::select! {
                answered = batch::answer(&policy.mask, &policy.link, batch) => answered,
                refusal = policy.refused() => Err(refusal),
            };
            match answered {
                // A client that has gone away gets its records from the queue again.
                Ok(receipt) => drop(receipts.send(Ok(receipt)).await),
                Err(status) => {
                    telemetry::call_failed(&Span::current(), &status);
                    // Only the first failure of a stream is reported.
                    drop(failed.try_send(status));
                }
            }
            drop(permit);
            Ok(())
        };
        self.life.spawn("batch", work.instrument(span));
    }
}

#[tonic::async_trait]
impl Masker for MaskerService {
    type MaskStream = ReceiverStream<Result<Receipt, Status>>;

    async fn mask(
        &self,
        request: Request<Streaming<RawBatch>>,
    ) -> Result<Response<Self::MaskStream>, Status> {
        if let Some(refusal) = self.policy.borrow().refusal() {
            return Err(refusal);
        }
        let has_attributes = Feature::Attributes.is_announced(request.metadata());
        if lacks_attributes(&self.policy.borrow(), has_attributes) {
            return Err(no_attributes());
        }
        let (receipts, stream) = mpsc::channel(numbers::to_usize(BATCHES_AT_ONCE));
        let serving = self.clone().serve_stream(request.into_inner(), receipts, has_attributes);
        self.life.spawn("stream", async move {
            serving.await;
            Ok(())
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Whether the policy needs attributes that a stream does not have: each would be taken for absent.
fn lacks_attributes(policy: &PolicyInForce, has_attributes: bool) -> bool {
    !has_attributes && policy.mask.reads_attributes()
}

fn no_attributes() -> Status {
    Status::failed_precondition(
        "the policy reads message attributes, and this reader is of a version that does not send them; upgrade it",
    )
}
