//! The receipt of a raw batch, put together by position from the masker's rejections and the writer's receipts.

use veilpost_proto::v1::{Outcome, Receipt, Rejection};

use crate::mask::rejection::Rejected;

/// A receipt in the making: every record is left until something else is known of it.
#[derive(Debug)]
pub(crate) struct Answer {
    receipt: Receipt,
}

/// The writer's receipt is not as long as its batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit;

impl Answer {
    pub(crate) fn new(batch_id: u64, records: usize) -> Self {
        let outcomes = vec![byte(Outcome::Unspecified); records];
        Self { receipt: Receipt { batch_id, outcomes, rejections: Vec::new() } }
    }

    pub(crate) fn reject(&mut self, position: u32, Rejected { reason, detail }: Rejected) {
        self.set(position, byte(Outcome::Rejected));
        self.receipt.rejections.push(Rejection { index: position, reason: reason.into(), detail });
    }

    /// Takes over the writer's `receipt` for the records that stand at `positions` here. Outcomes and reasons of a newer
    /// writer pass through.
    pub(crate) fn merge(&mut self, positions: &[u32], receipt: Receipt) -> Result<(), Misfit> {
        if receipt.outcomes.len() != positions.len() {
            return Err(Misfit);
        }
        for (position, outcome) in positions.iter().zip(receipt.outcomes) {
            self.set(*position, outcome);
        }
        let moved = receipt.rejections.into_iter().filter_map(|rejection| {
            let index = *positions.get(place(rejection.index))?;
            Some(Rejection { index, ..rejection })
        });
        self.receipt.rejections.extend(moved);
        Ok(())
    }

    pub(crate) fn into_receipt(self) -> Receipt {
        self.receipt
    }

    fn set(&mut self, position: u32, outcome: u8) {
        if let Some(place) = self.receipt.outcomes.get_mut(place(position)) {
            *place = outcome;
        }
    }
}

fn byte(outcome: Outcome) -> u8 {
    u8::try_from(i32::from(outcome)).unwrap_or_default()
}

fn place(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use veilpost_proto::v1::Reason;

    use super::*;

    fn rejection(index: u32, detail: &str) -> Rejection {
        Rejection { index, reason: Reason::TextTooLong.into(), detail: detail.to_owned() }
    }

    #[test]
    fn nothing_known_leaves_every_record() {
        assert_eq!(
            Answer::new(7, 2).into_receipt(),
            Receipt { batch_id: 7, outcomes: vec![0, 0], rejections: vec![] }
        );
    }

    #[test]
    fn a_receipt_of_another_length_changes_nothing() {
        let mut answer = Answer::new(1, 2);
        assert_eq!(answer.merge(&[0, 1], Receipt { outcomes: vec![1], ..Receipt::default() }), Err(Misfit));
        assert_eq!(answer.into_receipt().outcomes, [0, 0]);
    }

    #[test]
    fn a_rejection_of_a_record_that_is_not_there_is_ignored() {
        let mut answer = Answer::new(1, 1);
        let receipt =
            Receipt { outcomes: vec![3], rejections: vec![rejection(9, "x")], ..Receipt::default() };
        assert_eq!(answer.merge(&[0], receipt), Ok(()));
        assert_eq!(answer.into_receipt().rejections, []);
    }

    proptest! {
        /// Some records are rejected here, the others answered by the writer in shares of any size and order.
        #[test]
        fn every_record_gets_the_outcome_that_is_its_own(
            fates in prop::collection::vec(prop::option::of(0_u8..5), 0..40), share in 1_usize..9,
        ) {
            let mut answer = Answer::new(3, fates.len());
            let mut forwarded = Vec::new();
            for (position, fate) in (0_u32..).zip(&fates) {
                match fate {
                    None => answer.reject(position, Rejected { reason: Reason::NotJson, detail: position.to_string() }),
                    Some(outcome) => forwarded.push((position, *outcome)),
                }
            }
            for share in forwarded.chunks(share).rev() {
                let (positions, outcomes): (Vec<_>, Vec<_>) = share.iter().copied().unzip();
                let rejections = (0_u32..).zip(share).filter(|(_, (_, outcome))| *outcome == 3);
                let rejections = rejections.map(|(index, (position, _))| rejection(index, &position.to_string())).collect();
                let receipt = Receipt { batch_id: 99, outcomes, rejections };
                prop_assert_eq!(answer.merge(&positions, receipt), Ok(()));
            }
            let receipt = answer.into_receipt();
            prop_assert_eq!(receipt.batch_id, 3);
            let outcomes: Vec<_> = fates.iter().map(|fate| fate.unwrap_or(3)).collect();
            prop_assert_eq!(&receipt.outcomes, &outcomes);
            let rejected = (0_u32..).zip(&outcomes).filter(|(_, outcome)| **outcome == 3).count();
            prop_assert_eq!(receipt.rejections.len(), rejected);
            for rejection in receipt.rejections {
                prop_assert_eq!(rejection.detail, rejection.index.to_string());
            }
        }
    }
}
