//! Builds one receipt for a batch from what becomes known of its records, in any order and in parts.

use std::ops::Range;

use crate::v1::{Outcome, Reason, Receipt, Rejection};

/// A receipt that is being put together, record by record or from the receipts of parts of the batch.
///
/// Every record starts as [`Outcome::Unspecified`], which leaves its message in the queue: what nobody
/// reports is never taken for stored. Positions count the batch's records from 0; a position that the batch
/// does not have is ignored. Nothing here waits, so there is nothing to cancel.
///
/// ```
/// use veilpost_proto::ReceiptBuilder;
/// use veilpost_proto::v1::{Outcome, Reason, Receipt};
///
/// // The second of three records is rejected here; the service downstream answers for the other two.
/// let mut builder = ReceiptBuilder::new(7, 3);
/// builder.reject(1, Reason::NotJson, "the body is not JSON".to_owned());
/// let downstream = Receipt {
///     outcomes: vec![Outcome::Stored.byte(), Outcome::Duplicate.byte()],
///     ..Receipt::default()
/// };
/// builder.merge(&[0, 2], downstream)?;
///
/// let receipt = builder.finish();
/// assert_eq!((receipt.batch_id, receipt.outcomes), (7, vec![1, 3, 2]));
/// assert_eq!(receipt.rejections[0].index, 1);
/// # Ok::<(), veilpost_proto::ReceiptLengthMismatch>(())
/// ```
#[derive(Debug)]
pub struct ReceiptBuilder {
    receipt: Receipt,
}

/// A receipt has another number of outcomes than the batch that it answers has records.
///
/// Its sender breaks the contract: no outcome can be assigned to a record with certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a receipt with {got} outcomes for a batch of {expected} records")]
pub struct ReceiptLengthMismatch {
    /// The number of records in the batch.
    pub expected: usize,
    /// The number of outcomes in the receipt.
    pub got: usize,
}

impl ReceiptBuilder {
    /// Starts the receipt for batch `batch_id`, which has `records` records.
    pub fn new(batch_id: u64, records: usize) -> Self {
        let outcomes = vec![Outcome::Unspecified.byte(); records];
        Self { receipt: Receipt { batch_id, outcomes, rejections: Vec::new() } }
    }

    /// Sets the outcome of the record at `position`; the last call for a position counts.
    ///
    /// For a rejection call [`reject`](Self::reject), which also gives the reason.
    pub fn set(&mut self, position: usize, outcome: Outcome) {
        self.set_byte(position, outcome.byte());
    }

    /// Rejects the record at `position`; `detail` names the column and the rule, never a value.
    pub fn reject(&mut self, position: usize, reason: Reason, detail: String) {
        self.set(position, Outcome::Rejected);
        let index = index(position);
        self.receipt.rejections.push(Rejection { index, reason: reason.into(), detail });
    }

    /// Leaves the record at `position` in the queue, and says what is known of why; `detail` never has a
    /// value.
    ///
    /// Readers that look for reasons of rejected records only ignore it.
    pub fn leave_undecided(&mut self, position: usize, detail: String) {
        self.set(position, Outcome::Unspecified);
        let (index, reason) = (index(position), Reason::Undecided.into());
        self.receipt.rejections.push(Rejection { index, reason, detail });
    }

    /// Takes over `receipt` for the records at `positions`: its first outcome is for the first of them, and
    /// so on.
    ///
    /// Outcomes and reasons that this version does not know pass through unchanged. The id in `receipt` is
    /// not looked at.
    ///
    /// # Errors
    ///
    /// When `receipt` does not have one outcome for each position; then nothing changes.
    pub fn merge(&mut self, positions: &[usize], receipt: Receipt) -> Result<(), ReceiptLengthMismatch> {
        self.merge_by(positions.len(), |index| positions.get(index).copied(), receipt)
    }

    /// [`merge`](Self::merge) for records that stand next to each other.
    ///
    /// # Errors
    ///
    /// When `receipt` does not have one outcome for each position in `range`; then nothing changes.
    pub fn merge_range(
        &mut self,
        range: Range<usize>,
        receipt: Receipt,
    ) -> Result<(), ReceiptLengthMismatch> {
        let (start, length) = (range.start, range.len());
        self.merge_by(length, |index| (index < length).then(|| start + index), receipt)
    }

    /// Whether any record has been rejected so far.
    pub fn has_rejections(&self) -> bool {
        self.receipt.outcomes.contains(&Outcome::Rejected.byte())
    }

    /// The receipt: one outcome per record, by position; rejections in the order in which they became known.
    pub fn finish(self) -> Receipt {
        self.receipt
    }

    fn merge_by(
        &mut self,
        expected: usize,
        position_of: impl Fn(usize) -> Option<usize>,
        part: Receipt,
    ) -> Result<(), ReceiptLengthMismatch> {
        let got = part.outcomes.len();
        if got != expected {
            return Err(ReceiptLengthMismatch { expected, got });
        }
        for (place, outcome) in part.outcomes.into_iter().enumerate() {
            if let Some(position) = position_of(place) {
                self.set_byte(position, outcome);
            }
        }
        let moved = part.rejections.into_iter().filter_map(|rejection| {
            let position = position_of(usize::try_from(rejection.index).ok()?)?;
            Some(Rejection { index: index(position), ..rejection })
        });
        self.receipt.rejections.extend(moved);
        Ok(())
    }

    fn set_byte(&mut self, position: usize, outcome: u8) {
        if let Some(slot) = self.receipt.outcomes.get_mut(position) {
            *slot = outcome;
        }
    }
}

/// A position as the contract carries it. No batch comes near 2^32 records: a record takes at least a byte of
/// [`crate::MAX_BATCH_BYTES`].
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rejection(index: u32, detail: &str) -> Rejection {
        Rejection { index, reason: Reason::TextTooLong.into(), detail: detail.to_owned() }
    }

    #[test]
    fn records_of_which_nothing_is_known_are_left_in_the_queue() {
        let receipt = ReceiptBuilder::new(7, 2).finish();
        assert_eq!(receipt, Receipt { batch_id: 7, outcomes: vec![0, 0], rejections: vec![] });
    }

    #[test]
    fn a_receipt_of_another_length_changes_nothing() {
        let mut builder = ReceiptBuilder::new(1, 2);
        let short =
            || Receipt { outcomes: vec![1], rejections: vec![rejection(0, "x")], ..Receipt::default() };
        let mismatch = ReceiptLengthMismatch { expected: 2, got: 1 };
        assert_eq!(builder.merge(&[0, 1], short()), Err(mismatch));
        assert_eq!(builder.merge_range(0..2, short()), Err(mismatch));
        assert!(!builder.has_rejections());
        assert_eq!(builder.finish().outcomes, [0, 0]);
        assert_eq!(mismatch.to_string(), "a receipt with 1 outcomes for a batch of 2 records");
    }

    #[test]
    fn a_rejection_of_a_record_that_the_part_does_not_have_is_ignored() {
        let mut builder = ReceiptBuilder::new(1, 2);
        let part =
            || Receipt { outcomes: vec![3], rejections: vec![rejection(1, "x")], ..Receipt::default() };
        assert_eq!(builder.merge(&[0], part()), Ok(()));
        assert_eq!(builder.merge_range(0..1, part()), Ok(()));
        assert_eq!(builder.finish().rejections, []);
    }

    #[test]
    fn a_position_that_the_batch_does_not_have_is_ignored() {
        let mut builder = ReceiptBuilder::new(1, 1);
        builder.set(1, Outcome::Stored);
        assert_eq!(builder.finish().outcomes, [0]);
    }

    #[test]
    fn a_record_that_is_left_undecided_keeps_its_reason_and_is_not_rejected() {
        let mut part = ReceiptBuilder::new(1, 1);
        part.leave_undecided(0, "SQLSTATE 2200H".to_owned());
        assert!(!part.has_rejections());
        let mut whole = ReceiptBuilder::new(2, 2);
        whole.set(0, Outcome::Stored);
        whole.merge(&[1], part.finish()).unwrap();
        let receipt = whole.finish();
        assert_eq!(receipt.outcomes, [1, 0]);
        assert_eq!((receipt.rejections[0].index, receipt.rejections[0].reason()), (1, Reason::Undecided));
    }

    #[test]
    fn a_range_is_answered_where_it_stands() {
        let mut builder = ReceiptBuilder::new(1, 4);
        let part =
            Receipt { outcomes: vec![1, 3], rejections: vec![rejection(1, "x")], ..Receipt::default() };
        builder.merge_range(1..3, part).unwrap();
        let receipt = builder.finish();
        assert_eq!(receipt.outcomes, [0, 1, 3, 0]);
        assert_eq!(receipt.rejections, [rejection(2, "x")]);
    }

    proptest! {
        /// Some records are rejected here, the others are answered downstream in parts of any size and order.
        #[test]
        fn every_record_gets_the_outcome_that_is_its_own(
            fates in prop::collection::vec(prop::option::of(0_u8..5), 0..40), part in 1_usize..9,
        ) {
            let mut builder = ReceiptBuilder::new(3, fates.len());
            let mut forwarded = Vec::new();
            for (position, fate) in fates.iter().enumerate() {
                match fate {
                    None => builder.reject(position, Reason::NotJson, position.to_string()),
                    Some(outcome) => forwarded.push((position, *outcome)),
                }
            }
            for part in forwarded.chunks(part).rev() {
                let (positions, outcomes): (Vec<_>, Vec<_>) = part.iter().copied().unzip();
                let rejections = (0_u32..).zip(part).filter(|(_, (_, outcome))| *outcome == 3);
                let rejections =
                    rejections.map(|(index, (position, _))| rejection(index, &position.to_string())).collect();
                let receipt = Receipt { batch_id: 99, outcomes, rejections };
                prop_assert_eq!(builder.merge(&positions, receipt), Ok(()));
            }
            let receipt = builder.finish();
            prop_assert_eq!(receipt.batch_id, 3);
            let outcomes: Vec<_> = fates.iter().map(|fate| fate.unwrap_or(3)).collect();
            prop_assert_eq!(&receipt.outcomes, &outcomes);
            let rejected = outcomes.iter().filter(|outcome| **outcome == 3).count();
            prop_assert_eq!(receipt.rejections.len(), rejected);
            for rejection in receipt.rejections {
                prop_assert_eq!(rejection.detail, rejection.index.to_string());
            }
        }
    }
}
