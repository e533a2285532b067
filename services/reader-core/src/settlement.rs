//! What is to be done with each delivery of a batch once its receipt is there.

use veilpost_proto::v1::{Outcome, Reason, Receipt};

/// How one delivery is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is stored: delete it.
    Delete,
    /// It can never be stored.
    Reject(Rejection),
    /// Nothing is known to be stored: let its visibility run out.
    Leave,
}

/// Why a record was rejected, in words for people and metrics. Never contains a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: &'static str,
    pub detail: String,
}

/// One settlement per record, by position. Only an outcome that this reader knows settles anything, and a receipt of
/// another length than its batch settles nothing.
pub fn settlements(receipt: &Receipt, records: usize) -> Vec<Settlement> {
    if receipt.outcomes.len() != records {
        return vec![Settlement::Leave; records];
    }
    let mut settlements: Vec<_> = receipt.outcomes.iter().map(|outcome| settlement(*outcome)).collect();
    for rejection in &receipt.rejections {
        let place = usize::try_from(rejection.index).ok().and_then(|index| settlements.get_mut(index));
        if let Some(Settlement::Reject(place)) = place {
            let reason = rejection.reason().name();
            *place = Rejection { reason, detail: rejection.detail.clone() };
        }
    }
    settlements
}

fn settlement(outcome: u8) -> Settlement {
    match Outcome::try_from(i32::from(outcome)) {
        Ok(Outcome::Stored | Outcome::Duplicate) => Settlement::Delete,
        Ok(Outcome::Rejected) => {
            Settlement::Reject(Rejection { reason: Reason::Unspecified.name(), detail: String::new() })
        }
        Ok(Outcome::Unspecified) | Err(_) => Settlement::Leave,
    }
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
    fn stored_and_duplicate_are_deleted_rejected_carries_its_reason_the_rest_is_left() {
        let receipt = receipt(vec![1, 2, 3, 0, 200], vec![sent(2, Reason::TextTooLong)]);
        let rejection = Rejection { reason: "text-too-long", detail: "locale: rule".to_owned() };
        let expected = [
            Settlement::Delete,
            Settlement::Delete,
            Settlement::Reject(rejection),
            Settlement::Leave,
            Settlement::Leave,
        ];
        assert_eq!(settlements(&receipt, 5), expected);
    }

    #[test]
    fn a_rejection_without_or_with_an_unknown_reason_is_still_one() {
        let mut unknown = sent(1, Reason::Unspecified);
        unknown.reason = 4711;
        let settled = settlements(&receipt(vec![3, 3], vec![unknown]), 2);
        for settlement in settled {
            let Settlement::Reject(rejection) = settlement else { panic!("not rejected") };
            assert_eq!(rejection.reason, "unspecified");
        }
    }

    #[test]
    fn a_receipt_of_another_length_settles_nothing() {
        assert_eq!(settlements(&receipt(vec![1, 1], vec![]), 3), vec![Settlement::Leave; 3]);
        assert_eq!(settlements(&receipt(vec![1, 1], vec![]), 1), vec![Settlement::Leave; 1]);
    }

    proptest! {
        #[test]
        fn only_stored_and_duplicate_delete_and_only_rejected_rejects(
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
                prop_assert_eq!(*settlement == Settlement::Delete, matches!(outcome, 1 | 2));
                prop_assert_eq!(matches!(settlement, Settlement::Reject(_)), outcome == 3);
            }
        }
    }
}
