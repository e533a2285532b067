//! The two services that have a service upstream: the masker and the writer.

use std::net::SocketAddr;

use tokio::sync::watch;
use veilpost_proto::v1::{MaskedBatch, RawBatch, Target};

use super::acceptance::{Acceptance, Answers};
use super::batch::LinkBatch;
use super::feature::Feature;

/// A kind of service downstream: which gRPC call carries its batches, and how a stream to it begins.
pub trait Downstream: Clone + Send + Sync + 'static {
    /// The batches that it takes.
    type Batch: LinkBatch;

    /// The service's name in logs.
    const SERVICE: &'static str;

    /// The gRPC method's path.
    const METHOD: &'static str;

    /// What this side says in its request headers that it knows.
    const ANNOUNCED: &'static [Feature] = &[];

    /// What a peer must announce to get any batch.
    fn needs(&self) -> &[Feature] {
        &[]
    }

    /// What a stream begins with, before any batch; it gets no receipt.
    fn opening(&self) -> Option<Self::Batch>;

    /// A peer has accepted a stream, or, with its reason, refuses what streams are opened with.
    fn answered(&self, _address: SocketAddr, _refusal: Option<&str>) {}

    /// A peer's address has left the look-up.
    fn retired(&self, _address: SocketAddr) {}
}

/// From a reader to the maskers.
#[derive(Clone, Debug)]
pub struct ToMasker;

impl Downstream for ToMasker {
    type Batch = RawBatch;
    const SERVICE: &'static str = "masker";
    const METHOD: &'static str = "/veilpost.v1.Masker/Mask";
    const ANNOUNCED: &'static [Feature] = &[Feature::Attributes];

    fn opening(&self) -> Option<RawBatch> {
        None
    }
}

/// From a masker to the writers.
#[derive(Clone, Debug)]
pub struct ToWriter {
    /// The table and columns that every stream is opened with.
    target: Target,
    needs: Vec<Feature>,
    answers: Answers,
}

impl ToWriter {
    /// Streams that are opened with `target`, to writers that know all of `needs`.
    pub fn new(target: Target, needs: Vec<Feature>) -> Self {
        Self { target, needs, answers: Answers::new() }
    }

    /// Whether the writers accept the target.
    pub fn acceptance(&self) -> watch::Receiver<Acceptance> {
        self.answers.watch()
    }
}

impl Downstream for ToWriter {
    type Batch = MaskedBatch;
    const SERVICE: &'static str = "writer";
    const METHOD: &'static str = "/veilpost.v1.Writer/Write";

    fn needs(&self) -> &[Feature] {
        &self.needs
    }

    fn opening(&self) -> Option<MaskedBatch> {
        Some(MaskedBatch { target: Some(self.target.clone()), ..MaskedBatch::default() })
    }

    fn answered(&self, address: SocketAddr, refusal: Option<&str>) {
        self.answers.note(address, refusal);
    }

    fn retired(&self, address: SocketAddr) {
        self.answers.forget(address);
    }
}
