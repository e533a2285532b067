//! How each delivery of a batch is settled, from the batch's receipt.

use veilpost_proto::v1::{Outcome, Reason, Receipt};
use veilpost_runtime::numbers;

/// How one delivery is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Its rows are durable: the source may forget the message.
    Complete,
    /// It can never be stored.
    Reject(Rejection),
    /// Nothing is known to be stored: leave the message in the source, which delivers it again. With what is
    /// known of why.
    Leave(Rejection),
}

/// Why a record was rejected, or why nothing was decided. It never contains a value of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason's name in the contract, such as `not-json`; a metric's label.
    pub reason: &'static str,
    /// Where in the record the problem is, in words for people; may be empty.
    pub detail: String,
}

/// Returns one settlement for each of the batch's `records` records, by position.
///
/// An outcome that this reader does not know is [`Settlement::Leave`]. A receipt of another length than its
/// batch settles nothing: every record is left.
pub fn settlements(receipt: &Receipt, records: usize) -> Vec<Settlement> {
    if receipt.outcomes.len() != records {
        return vec![leave(); records];
    }
    let mut settlements: Vec<_> = receipt.outcomes.iter().map(|outcome| settlement(*outcome)).collect();
    for rejection in &receipt.rejections {
        let settlement = settlements.get_mut(numbers::to_usize(rejection.index));
        if let Some(Settlement::Reject(known) | Settlement::Leave(known)) = settlement {
            let reason = rejection.reason().name();
            *known = Rejection { reason, detail: rejection.detail.clone() };
        }
    }
    settlements
}

fn settlement(outcome: u8) -> Settlement {
    match Outcome::try_from(i32::from(outcome)) {
        Ok(Outcome::Stored | Outcome::Duplicate) => Settlement::Complete,
        Ok(Outcome::Rejected) => Settlement::Reject(unspecified()),
        Ok(Outcome::Unspecified) | Err(_) => leave(),
    }
}

fn leave() -> Settlement {
    Settlement::Leave(unspecified())
}

fn unspecified() -> Rejection {
    Rejection { reason: Reason::Unspecified.name(), detail: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use veilpost_proto::v1::Rejection as Sent;

    fn receipt(outcomes: Vec<u8>, rejections: Vec<Sent>) -> Receipt {
        Receipt { batch_id: 1, outcomes, rejections }
    }

    fn sent(index: u32, reason: Reason) -> Sent {
        Sent { index, reason: reason.into(), detail: "locale: rule".to_owned() }
    }

    #[test]
    fn stored_and_duplicate_complete_rejected_carries_its_reason_and_the_rest_is_left() {
        let receipt = receipt(vec![1, 2, 3, 0, 200], vec![sent(2, Reason::TextTooLong)]);
        let rejection = Rejection { reason: "text-too-long", detail: "locale: rule".to_owned() };
        let expected =
            [Settlement::Complete, Settlement::Complete, Settlement::Reject(rejection), leave(), leave()];
        assert_eq!(settlements(&receipt, 5), expected);
    }

    #[test]
    fn a_rejection_with_no_reason_or_an_unknown_one_still_rejects() {
        let mut unknown = sent(1, Reason::Unspecified);
        unknown.reason = 4711;
        let settled = settlements(&receipt(vec![3, 3], vec![unknown]), 2);
        for settlement in settled {
            let Settlement::Reject(rejection) = settlement else { panic!("not rejected") };
            assert_eq!(rejection.reason, "unspecified");
        }
    }

    #[test]
    fn what_is_known_of_an_undecided_record_rejects_nothing() {
        let receipt = receipt(vec![0, 1], vec![sent(0, Reason::Undecided)]);
        let why = Rejection { reason: "undecided", detail: "locale: rule".to_owned() };
        assert_eq!(settlements(&receipt, 2), [Settlement::Leave(why), Settlement::Complete]);
    }

    #[test]
    fn a_receipt_of_another_length_settles_nothing() {
        assert_eq!(settlements(&receipt(vec![1, 1], vec![]), 3), vec![leave(); 3]);
        assert_eq!(settlements(&receipt(vec![1, 1], vec![]), 1), vec![leave(); 1]);
    }

    proptest! {
        #[test]
        fn only_stored_and_duplicate_complete_and_only_rejected_rejects(
            outcomes in prop::collection::vec(any::<u8>(), 0..50),
            rejections in prop::collection::vec((any::<u32>(), 0i32..20), 0..10),
            wrong in 0usize..3,
        ) {
            let rejections = rejections.into_iter()
                .map(|(index, reason)| Sent { index: index % 60, reason, detail: String::new() }).collect();
            let records = outcomes.len() + wrong;
            let settled = settlements(&receipt(outcomes.clone(), rejections), records);
            prop_assert_eq!(settled.len(), records);
            for (index, settlement) in settled.iter().enumerate() {
                let outcome = if wrong == 0 { outcomes[index] } else { 0 };
                prop_assert_eq!(*settlement == Settlement::Complete, matches!(outcome, 1 | 2));
                prop_assert_eq!(matches!(settlement, Settlement::Reject(_)), outcome == 3);
            }
        }
    }
}
