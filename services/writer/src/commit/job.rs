//! One batch of one stream on its way to the database.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::Status;
use tracing::Span;
use veilpost_proto::v1::Receipt;

use crate::catalogue::Target;
use crate::record::{Record, Sheet};

/// A converted batch; dropping it tells its stream that nothing is known of it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch_id: u64,
    pub(crate) target: Arc<Target>,
    pub(crate) records: Vec<Record>,
    pub(crate) sheet: Sheet,
    /// Its encoded size.
    pub(crate) bytes: usize,
    /// The span of work on the batch.
    pub(crate) span: Span,
    pub(crate) reply: oneshot::Sender<Result<Receipt, Status>>,
    /// Its share of the memory that all waiting batches may take; given back with the job.
    pub(crate) share: OwnedSemaphorePermit,
}
