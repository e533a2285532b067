//! What the link needs to know of a batch.

use veilpost_proto::v1::{MaskedBatch, RawBatch};

/// A batch as it travels on a stream.
pub trait LinkBatch: prost::Message + Default + Send + Sync + 'static {
    /// Sets the id that the batch's receipt will name; unique in a stream.
    fn set_id(&mut self, id: u64);

    /// Tells the receiver whether a record of the batch may be what kills its receivers.
    fn set_suspect(&mut self, suspect: bool);

    /// The number of records in the batch.
    fn records(&self) -> usize;

    /// The message id of the record at `index`; empty when there is no such record.
    fn message_id(&self, index: usize) -> &str;

    /// The record at `index` in a batch of its own, with id 0 and everything else as it is here.
    #[must_use]
    fn single(&self, index: usize) -> Self;
}

macro_rules! link_batch {
    ($batch:ident { $($header:ident),* }, $message_id:expr) => {
        impl LinkBatch for $batch {
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

link_batch!(RawBatch {}, |record| record.message_id.as_str());
link_batch!(MaskedBatch { target }, |record| veilpost_proto::masked::message_id(record));
