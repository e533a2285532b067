//! What the link needs to know of a batch.

use veilpost_proto::ReceiptBuilder;
use veilpost_proto::v1::{MaskedBatch, RawBatch, Receipt};

/// A batch as it travels on a stream.
pub trait LinkBatch: prost::Message + Default + Send + Sync + 'static {
    /// Sets the id that the batch's receipt will name; unique in a stream.
    fn set_id(&mut self, id: u64);

    /// Tells the receiver whether a record of the batch may be what kills its receivers.
    fn set_suspect(&mut self, suspect: bool);

    /// The number of records in the batch, the rejected ones included: as many outcomes has its receipt.
    fn records(&self) -> usize;

    /// The message id of the record at `index`; empty when there is no such record.
    fn message_id(&self, index: usize) -> &str;

    /// The record at `index` in a batch of its own, with id 0 and everything else as it is here.
    #[must_use]
    fn single(&self, index: usize) -> Self;

    /// Whether it has rejected records, which only a peer takes that announces
    /// [`Feature::Claims`](super::Feature).
    fn has_claims(&self) -> bool;

    /// The batch for a peer that does not announce [`Feature::Claims`](super::Feature): without its rejected
    /// records.
    #[must_use]
    fn without_claims(&self) -> Self;

    /// Adds the rejections to the receipt for [`Self::without_claims`]: the peer does not know of them.
    fn reject_claims(&self, receipt: &mut Receipt);
}

impl LinkBatch for RawBatch {
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
        self.records.get(index).map_or("", |record| record.message_id.as_str())
    }

    fn single(&self, index: usize) -> Self {
        Self {
            id: 0,
            pipeline: self.pipeline.clone(),
            records: self.records.get(index).cloned().into_iter().collect(),
            trace: self.trace.clone(),
            suspect: self.suspect,
        }
    }

    fn has_claims(&self) -> bool {
        false
    }

    fn without_claims(&self) -> Self {
        self.clone()
    }

    fn reject_claims(&self, _: &mut Receipt) {}
}

impl LinkBatch for MaskedBatch {
    fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    fn set_suspect(&mut self, suspect: bool) {
        self.suspect = suspect;
    }

    fn records(&self) -> usize {
        self.records.len() + self.rejected.len()
    }

    fn message_id(&self, index: usize) -> &str {
        match index.checked_sub(self.records.len()) {
            None => self.records.get(index).map_or("", |record| veilpost_proto::masked::message_id(record)),
            Some(index) => self.rejected.get(index).map_or("", |rejected| &rejected.message_id),
        }
    }

    fn single(&self, index: usize) -> Self {
        let rejected = index.checked_sub(self.records.len()).and_then(|index| self.rejected.get(index));
        Self {
            id: 0,
            pipeline: self.pipeline.clone(),
            records: self.records.get(index).cloned().into_iter().collect(),
            trace: self.trace.clone(),
            target: None,
            suspect: self.suspect,
            rejected: rejected.cloned().into_iter().collect(),
        }
    }

    fn has_claims(&self) -> bool {
        !self.rejected.is_empty()
    }

    fn without_claims(&self) -> Self {
        Self { rejected: Vec::new(), ..self.clone() }
    }

    fn reject_claims(&self, receipt: &mut Receipt) {
        // A receipt of a wrong length stays one, because this always adds the same number.
        let own = receipt.outcomes.len();
        let mut whole = ReceiptBuilder::new(receipt.batch_id, own + self.rejected.len());
        let merged = whole.merge_range(0..own, std::mem::take(receipt));
        debug_assert!(merged.is_ok(), "it has as many outcomes as it has");
        for (position, rejected) in (own..).zip(&self.rejected) {
            whole.reject(position, rejected.reason(), rejected.detail.clone());
        }
        *receipt = whole.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilpost_proto::v1::{MaskedRecord, Outcome, Reason, RejectedRecord};

    fn batch() -> MaskedBatch {
        let record = |id: &str| MaskedRecord { message_id: id.to_owned(), ..MaskedRecord::default() };
        let rejected =
            |id: &str| RejectedRecord { message_id: id.to_owned(), reason: 2, ..RejectedRecord::default() };
        MaskedBatch {
            records: MaskedBatch::encoded([record("a"), record("b")]),
            rejected: vec![rejected("c")],
            ..MaskedBatch::default()
        }
    }

    #[test]
    fn rejected_records_follow_the_masked_ones() {
        let batch = batch();
        assert_eq!(batch.records(), 3);
        let singles: Vec<_> = (0..3).map(|index| batch.single(index)).collect();
        for (index, (single, id)) in singles.iter().zip(["a", "b", "c"]).enumerate() {
            assert_eq!((batch.message_id(index), single.message_id(0), single.records()), (id, id, 1));
        }
        assert_eq!(batch.message_id(3), "");
    }

    #[test]
    fn a_peer_that_does_not_know_of_claims_gets_none_and_the_receipt_rejects_them() {
        let batch = batch();
        let older = batch.without_claims();
        assert_eq!((older.records(), older.has_claims(), batch.has_claims()), (2, false, true));
        let mut receipt = Receipt { outcomes: vec![1, 2], ..Receipt::default() };
        batch.reject_claims(&mut receipt);
        assert_eq!(receipt.outcomes, [1, 2, Outcome::Rejected.byte()]);
        assert_eq!((receipt.rejections[0].index, receipt.rejections[0].reason()), (2, Reason::NotJson));
        let mut of_another_length = Receipt { outcomes: vec![1; 3], ..Receipt::default() };
        batch.reject_claims(&mut of_another_length);
        assert_ne!(of_another_length.outcomes.len(), batch.records());
    }
}
