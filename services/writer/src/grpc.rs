//! The gRPC service: a stream opens with its target, then every batch gets one receipt.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::sync::{Semaphore, oneshot};
use tonic::{Request, Response, Status, Streaming};
use veilpost_proto::v1::writer_server::Writer;
use veilpost_proto::v1::{self, MaskedBatch, Receipt};
use veilpost_runtime::Lifecycle;

use crate::catalogue::{Mismatch, ReadError, Target};
use crate::commit::Job;
use crate::metrics::OpenStream;
use crate::record::prepare;
use crate::shared::Shared;
use crate::spans;

/// How many batches of a stream may be without a receipt; a sender's further ones wait in its own memory.
const UNRECEIPTED_BATCHES: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct WriterService(Arc<Door>);

/// What every stream needs.
#[derive(Debug)]
struct Door {
    shared: Arc<Shared>,
    life: Lifecycle,
    /// At most one stream at a time has the catalogue read again for its sake.
    refresh: Semaphore,
}

type Receipts = Pin<Box<dyn Stream<Item = Result<Receipt, Status>> + Send>>;

impl WriterService {
    pub(crate) fn new(shared: Arc<Shared>, life: Lifecycle) -> Self {
        Self(Arc::new(Door { shared, life, refresh: Semaphore::new(1) }))
    }
}

#[tonic::async_trait]
impl Writer for WriterService {
    type WriteStream = Receipts;

    /// The response's headers tell the sender that table and columns are known: it sends batches only then.
    async fn write(&self, request: Request<Streaming<MaskedBatch>>) -> Result<Response<Receipts>, Status> {
        let mut batches = request.into_inner();
        let target = tokio::select! {
            () = self.0.life.draining() => return Err(draining()),
            target = self.0.open(&mut batches) => target?,
        };
        Ok(Response::new(receipts(Arc::clone(&self.0), target, batches)))
    }
}

/// Takes batches while fewer than a few are without a receipt. On a drain, what was taken is finished first.
fn receipts(door: Arc<Door>, target: Target, batches: Streaming<MaskedBatch>) -> Receipts {
    let life = door.life.clone();
    let drain = Box::pin({
        let life = life.clone();
        async move { life.draining().await }
    });
    let visit = Arc::new(Visit { door, target: Arc::new(target), _open: OpenStream::new() });
    let taken = batches.take_until(drain).and_then(move |batch| Arc::clone(&visit).take(batch));
    let end = stream::once(async move { life.is_draining().then(|| Err(draining())) });
    Box::pin(taken.try_buffer_unordered(UNRECEIPTED_BATCHES).chain(end.filter_map(async |end| end)))
}

/// A stream that has told its target.
#[derive(Debug)]
struct Visit {
    door: Arc<Door>,
    target: Arc<Target>,
    _open: OpenStream,
}

impl Door {
    async fn open(&self, batches: &mut Streaming<MaskedBatch>) -> Result<Target, Status> {
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

    /// What the known definition lacks may have been added since it was read.
    async fn resolve(&self, wanted: &v1::Target) -> Result<Target, Status> {
        if let Some(Ok(target)) = self.resolve_known(wanted) {
            return Ok(target);
        }
        let _one_at_a_time = self.refresh.acquire().await;
        if let Some(Ok(target)) = self.resolve_known(wanted) {
            return Ok(target);
        }
        let refreshed = async {
            let mut session = self.shared.database.connect().await?;
            self.shared.catalogue.refresh(&mut session).await
        };
        let table = refreshed.await.map_err(|error| match error {
            ReadError::Unfit(why) => Status::failed_precondition(why),
            ReadError::Database(error) => Status::unavailable(error.to_string()),
        })?;
        Ok(Target::resolve(&table, wanted)?)
    }

    fn resolve_known(&self, wanted: &v1::Target) -> Option<Result<Target, Mismatch>> {
        self.shared.catalogue.current().map(|table| Target::resolve(&table, wanted))
    }
}

impl Visit {
    /// Queues a batch as soon as there is memory for it; the future that comes back waits for its receipt.
    async fn take(
        self: Arc<Self>,
        batch: MaskedBatch,
    ) -> Result<impl Future<Output = Result<Receipt, Status>>, Status> {
        if batch.target.is_some() {
            return Err(Status::invalid_argument("only the first message of a stream has a target"));
        }
        if !self.door.shared.catalogue.knows(&self.target) {
            return Err(Status::unavailable("the table's definition has changed"));
        }
        let receipt = self.queue(batch).await?;
        Ok(async move {
            tokio::select! {
                biased;
                receipt = receipt => receipt.unwrap_or_else(|_| Err(aborted())),
                () = self.door.life.aborting() => Err(aborted()),
            }
        })
    }

    async fn queue(&self, batch: MaskedBatch) -> Result<oneshot::Receiver<Result<Receipt, Status>>, Status> {
        let Door { shared, life, .. } = &*self.door;
        let target = Arc::clone(&self.target);
        let (batch_id, bytes) = (batch.id, batch.encoded_len());
        let share = tokio::select! {
            share = shared.memory.share(bytes) => share,
            () = life.aborting() => return Err(aborted()),
        };
        let span = spans::write(&batch);
        let prepared = span.in_scope(|| prepare(batch, &target));
        let (records, sheet) = prepared.map_err(|unfit| Status::invalid_argument(unfit.to_string()))?;
        let (reply, receipt) = oneshot::channel();
        shared.queue.push(Job { batch_id, target, records, sheet, bytes, span, reply, share });
        Ok(receipt)
    }
}

fn draining() -> Status {
    Status::unavailable("draining")
}

fn aborted() -> Status {
    Status::unavailable("stopped before the batch was stored")
}
