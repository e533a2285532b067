//! What the link needs to know of a batch.

use veilpost_proto::v1::{MaskedBatch, RawBatch};

/// A batch as it travels on a stream.
pub trait Batch: prost::Message + Default + Send + Sync + 'static {
    fn set_id(&mut self, id: u64);

    /// Tells the receiver whether the records may be what kills their receivers.
    fn set_suspect(&mut self, suspect: bool);

    /// How many records the batch has.
    fn records(&self) -> usize;

    /// The message id of the record at `index`, empty when there is none.
    fn message_id(&self, index: usize) -> &str;

    /// The record at `index` in a batch of its own.
    #[must_use]
    fn single(&self, index: usize) -> Self;
}

macro_rules! batch {
    ($batch:ident { $($header:ident),* }, $message_id:expr) => {
        impl Batch for $batch {
            fn set_id(&mut self, id: u64) {
                self.id = id;
            }

            fn set_suspect(&mut self, suspect: bool) {
                self.suspect = suspect;
            }

            fn records(&self) -> usize {
                self.records.len()
            }

            fn message_id(&self, index: usize) -> &str {
                self.records.get(index).map_or("", $message_id)
            }

            fn single(&self, index: usize) -> Self {
                Self {
                    id: 0,
                    pipeline: self.pipeline.clone(),
                    records: self.records.get(index).cloned().into_iter().collect(),
                    trace: self.trace.clone(),
                    suspect: self.suspect,
                    $($header: None),*
                }
            }
        }
    };
}

batch!(RawBatch {}, |record| record.message_id.as_str());
batch!(MaskedBatch { target }, |record| veilpost_proto::masked::message_id(record));
