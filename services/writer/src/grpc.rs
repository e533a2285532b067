//! The gRPC service: a stream opens with its target, then every batch gets one receipt.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::sync::{Semaphore, oneshot};
use tonic::{Request, Response, Status, Streaming};
use veilpost_proto::v1::writer_server::Writer;
use veilpost_proto::v1::{self, MaskedBatch, Receipt};
use veilpost_runtime::{Feature, Lifecycle};

use crate::catalogue::{Catalogue, ReadError};
use crate::commit::{BatchQueue, PendingBatch};
use crate::database::Database;
use crate::ledger::SentTimes;
use crate::metrics::StreamCount;
use crate::record::{PreparedBatch, prepare};
use crate::spans;
use crate::target::{Mismatch, ResolvedTarget};

/// How many batches of a stream may wait for their receipts; further batches wait in the sender's memory.
/// Few are in work, but many may be held. All of them together are bounded by the queue's bytes.
const BATCHES_WITHOUT_RECEIPT: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct WriterService(Arc<StreamContext>);

/// What all streams share.
#[derive(Debug)]
struct StreamContext {
    database: Arc<Database>,
    catalogue: Arc<Catalogue>,
    queue: Arc<BatchQueue>,
    sent_times: Arc<SentTimes>,
    life: Lifecycle,
    /// Only one opening stream at a time may have the definition read again.
    refresh: Semaphore,
}

/// A stream whose target is known.
#[derive(Debug)]
struct OpenStream {
    context: Arc<StreamContext>,
    target: Arc<ResolvedTarget>,
    _count: StreamCount,
}

type Receipts = Pin<Box<dyn Stream<Item = Result<Receipt, Status>> + Send>>;

impl WriterService {
    pub(crate) fn new(
        database: Arc<Database>,
        catalogue: Arc<Catalogue>,
        queue: Arc<BatchQueue>,
        sent_times: Arc<SentTimes>,
        life: Lifecycle,
    ) -> Self {
        let refresh = Semaphore::new(1);
        Self(Arc::new(StreamContext { database, catalogue, queue, sent_times, life, refresh }))
    }
}

#[tonic::async_trait]
impl Writer for WriterService {
    type WriteStream = Receipts;

    /// The response's headers tell the sender that table and columns are known; only then does it send
    /// batches.
    async fn write(&self, request: Request<Streaming<MaskedBatch>>) -> Result<Response<Receipts>, Status> {
        let mut batches = request.into_inner();
        let target = tokio::select! {
            () = self.0.life.draining() => return Err(draining()),
            target = self.0.target_of(&mut batches) => Arc::new(target?),
        };
        let context = Arc::clone(&self.0);
        let stream = OpenStream { context, target, _count: StreamCount::new() };
        let mut response = Response::new(receipts(stream, batches));
        for feature in [Feature::Claims, Feature::Rows, Feature::Upserts] {
            feature.announce(response.metadata_mut());
        }
        Ok(response)
    }
}

/// Takes batches while only a few wait for their receipts. A drain ends the taking; batches that were taken
/// still get their receipts.
fn receipts(stream: OpenStream, batches: Streaming<MaskedBatch>) -> Receipts {
    let life = stream.context.life.clone();
    let drain = Box::pin({
        let life = life.clone();
        async move { life.draining().await }
    });
    let stream = Arc::new(stream);
    let taken = batches.take_until(drain).and_then(move |batch| Arc::clone(&stream).take(batch));
    let end = stream::once(async move { life.is_draining().then(|| Err(draining())) });
    Box::pin(taken.try_buffer_unordered(BATCHES_WITHOUT_RECEIPT).chain(end.filter_map(async |end| end)))
}

impl StreamContext {
    /// The target in a stream's first message, which has nothing else in it.
    async fn target_of(&self, batches: &mut Streaming<MaskedBatch>) -> Result<ResolvedTarget, Status> {
        let first =
            batches.message().await?.ok_or_else(|| Status::invalid_argument("the stream has no target"))?;
        let Some(wanted) = first.target else {
            return Err(Status::invalid_argument("the first message of a stream must have a target"));
        };
        if !first.records.is_empty() {
            return Err(Status::invalid_argument("the message with the target must have no records"));
        }
        self.resolve(&wanted).await
    }

    /// Reads the definition again when the known one does not fit: a column may have been added since.
    async fn resolve(&self, wanted: &v1::Target) -> Result<ResolvedTarget, Status> {
        if let Some(Ok(target)) = self.resolve_known(wanted) {
            return Ok(target);
        }
        let _one_at_a_time = self.refresh.acquire().await;
        if let Some(Ok(target)) = self.resolve_known(wanted) {
            return Ok(target);
        }
        let refreshed = async {
            let mut session = self.database.connect_apart().await?;
            self.catalogue.refresh(&mut session).await
        };
        let table = refreshed.await.map_err(|error| match error {
            ReadError::Unfit(why) => Status::failed_precondition(why),
            ReadError::Database(error) => Status::unavailable(error.to_string()),
        })?;
        Ok(ResolvedTarget::resolve(&table, wanted)?)
    }

    fn resolve_known(&self, wanted: &v1::Target) -> Option<Result<ResolvedTarget, Mismatch>> {
        self.catalogue.current().map(|table| ResolvedTarget::resolve(&table, wanted))
    }
}

impl OpenStream {
    /// Queues a batch as soon as there is memory for it. The result is a future that waits for its receipt.
    async fn take(
        self: Arc<Self>,
        batch: MaskedBatch,
    ) -> Result<impl Future<Output = Result<Receipt, Status>>, Status> {
        if batch.target.is_some() {
            return Err(Status::invalid_argument("only the first message of a stream has a target"));
        }
        if !self.context.catalogue.is_current(&self.target.table) {
            return Err(Status::unavailable("the table's definition has changed"));
        }
        let receipt = self.queue(batch).await?;
        Ok(async move {
            tokio::select! {
                biased;
                receipt = receipt => receipt.unwrap_or_else(|_| Err(aborted())),
                () = self.context.life.aborting() => Err(aborted()),
            }
        })
    }

    async fn queue(&self, batch: MaskedBatch) -> Result<oneshot::Receiver<Result<Receipt, Status>>, Status> {
        let StreamContext { queue, life, .. } = &*self.context;
        let target = Arc::clone(&self.target);
        let bytes = batch.encoded_len();
        let memory = tokio::select! {
            memory = queue.reserve(bytes) => memory,
            () = life.aborting() => return Err(aborted()),
        };
        let span = spans::write(&batch);
        let prepared = span.in_scope(|| prepare(batch, &target));
        let PreparedBatch { records, claims, receipt } =
            prepared.map_err(|unfit| Status::invalid_argument(unfit.to_string()))?;
        if let Some(newest) = records.iter().map(|record| record.sent_ms).max() {
            self.context.sent_times.note(newest);
        }
        let (reply, answer) = oneshot::channel();
        queue.push(PendingBatch { target, records, claims, receipt, bytes, span, reply, memory });
        Ok(answer)
    }
}

fn draining() -> Status {
    Status::unavailable("draining")
}

fn aborted() -> Status {
    Status::unavailable("stopped before the batch was stored")
}
