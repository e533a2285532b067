//! The two services that have a service upstream: the masker and the writer.

use veilpost_proto::v1::{MaskedBatch, RawBatch, Target};

use super::batch::LinkBatch;

/// A kind of service downstream: which gRPC call carries its batches, and how a stream to it begins.
pub trait Downstream: Clone + Send + Sync + 'static {
    /// The batches that it takes.
    type Batch: LinkBatch;

    /// The service's name in logs.
    const SERVICE: &'static str;

    /// The gRPC method's path.
    const METHOD: &'static str;

    /// What a stream begins with, before any batch; it gets no receipt.
    fn opening(&self) -> Option<Self::Batch>;
}

/// From a reader to the maskers.
#[derive(Clone, Debug)]
pub struct ToMasker;

impl Downstream for ToMasker {
    type Batch = RawBatch;
    const SERVICE: &'static str = "masker";
    const METHOD: &'static str = "/veilpost.v1.Masker/Mask";

    fn opening(&self) -> Option<RawBatch> {
        None
    }
}

/// From a masker to the writers.
#[derive(Clone, Debug)]
pub struct ToWriter {
    /// The table and columns that every stream is opened with.
    pub target: Target,
}

impl Downstream for ToWriter {
    type Batch = MaskedBatch;
    const SERVICE: &'static str = "writer";
    const METHOD: &'static str = "/veilpost.v1.Writer/Write";

    fn opening(&self) -> Option<MaskedBatch> {
        Some(MaskedBatch { target: Some(self.target.clone()), ..MaskedBatch::default() })
    }
}
