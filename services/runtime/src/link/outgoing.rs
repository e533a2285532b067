//! What users of the link hand over: a batch and where its receipt goes.

use tokio::sync::{mpsc, oneshot};
use veilpost_proto::v1::Receipt;

/// A batch to be sent, and the channel for its receipt.
#[derive(Debug)]
pub struct Outgoing<B> {
    /// The batch, with at least one record. The link sets its id.
    pub batch: B,
    /// Receives one receipt with one outcome per record of `batch`; dropped without one when the service
    /// aborts.
    pub reply: oneshot::Sender<Receipt>,
    /// Whether a record of the batch may be what kills its receivers: the first time that its stream breaks,
    /// the records are sent one at a time.
    pub suspect: bool,
}

/// Where the link's batches come from. The link asks for a batch only when a stream can take it, so that a
/// batch can grow while it waits.
pub trait OutgoingSource: Send {
    /// The batches of one downstream.
    type Batch;

    /// Waits for the next batch; `None` when no more will come.
    ///
    /// Must be cancel safe: the link drops the future whenever something else happens, and calls again.
    fn next(&mut self) -> impl Future<Output = Option<Outgoing<Self::Batch>>> + Send;
}

impl<B: Send> OutgoingSource for mpsc::Receiver<Outgoing<B>> {
    type Batch = B;

    fn next(&mut self) -> impl Future<Output = Option<Outgoing<B>>> + Send {
        self.recv()
    }
}
