//! What users of the link hand over: a batch and where its receipt goes.

use tokio::sync::{mpsc, oneshot};
use veilpost_proto::v1::Receipt;

/// A batch to be sent, and who waits for its receipt.
#[derive(Debug)]
pub struct Parcel<B> {
    /// Non-empty; its id is the link's to set.
    pub batch: B,
    /// Gets a receipt with one outcome per record of `batch`; dropped without one when the service aborts.
    pub reply: oneshot::Sender<Receipt>,
    /// Whether its records may be what kills their receivers: when its stream breaks once, they are sent one at a time.
    pub suspect: bool,
}

/// Where the link's batches come from. It is asked for one only when a stream can take it, so that meanwhile a batch
/// can grow.
pub trait Source: Send {
    type Batch;

    /// Waits for the next batch; `None` when no more will come. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Parcel<Self::Batch>>> + Send;
}

impl<B: Send> Source for mpsc::Receiver<Parcel<B>> {
    type Batch = B;

    fn next(&mut self) -> impl Future<Output = Option<Parcel<B>>> + Send {
        self.recv()
    }
}
