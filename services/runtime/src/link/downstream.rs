//! The two hops of the pipeline: reader to masker, masker to writer.

use veilpost_proto::v1::{MaskedBatch, RawBatch, Target};

use super::Batch;

/// One hop: which call carries the batches, and how a stream opens.
pub trait Hop: Clone + Send + Sync + 'static {
    type Batch: Batch;

    /// The service downstream, as logs and metrics name it.
    const DOWNSTREAM: &'static str;

    /// The gRPC method's path.
    const METHOD: &'static str;

    /// What a stream begins with, before any batch.
    fn opening(&self) -> Option<Self::Batch>;
}

#[derive(Clone, Debug)]
pub struct ToMasker;

impl Hop for ToMasker {
    type Batch = RawBatch;
    const DOWNSTREAM: &'static str = "masker";
    const METHOD: &'static str = "/veilpost.v1.Masker/Mask";

    fn opening(&self) -> Option<RawBatch> {
        None
    }
}

#[derive(Clone, Debug)]
pub struct ToWriter {
    /// The table and columns that every stream is opened with.
    pub target: Target,
}

impl Hop for ToWriter {
    type Batch = MaskedBatch;
    const DOWNSTREAM: &'static str = "writer";
    const METHOD: &'static str = "/veilpost.v1.Writer/Write";

    fn opening(&self) -> Option<MaskedBatch> {
        Some(MaskedBatch { target: Some(self.target.clone()), ..MaskedBatch::default() })
    }
}
