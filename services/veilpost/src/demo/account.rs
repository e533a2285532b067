//! The account: every message that was sent must be found exactly once, and where it belongs.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use veilpost_local::events::ExpectedOutcome;

/// The part of a ledger key that names pipeline and message: 80 bits of SHA-256.
pub(super) type LedgerId = [u8; 10];

/// The last ten bytes of the ledger's key, computed here once more so that the writer is not its own witness.
pub(super) fn ledger_id(pipeline: &str, message_id: &str) -> LedgerId {
    let digest = Sha256::new().chain_update(pipeline).chain_update([0]).chain_update(message_id).finalize();
    let mut id = LedgerId::default();
    id.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
    id
}

/// What was sent, by message id.
pub(super) type Sent = HashMap<String, ExpectedOutcome>;

/// What was found when all was over.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The messages of this pipeline that the ledger has.
    pub(super) ledger: HashSet<LedgerId>,
    /// Reason by original message id.
    pub(super) dead_letters: HashMap<String, String>,
    /// Rows that were added to the table.
    pub(super) rows: u64,
    /// Whether somebody else may have added rows too.
    pub(super) shared_table: bool,
    /// Messages still in the queue, visible or hidden.
    pub(super) left_in_queue: u64,
}

/// The result of comparing the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) stored: u64,
    pub(super) rejected: BTreeMap<String, u64>,
    /// What does not add up, in words; empty when every message is accounted for.
    pub(super) discrepancies: Vec<String>,
}

impl Account {
    pub(super) fn of(pipeline: &str, sent: &Sent, found: &Found) -> Self {
        let mut account = Self::default();
        let mut wrong: BTreeMap<&str, u64> = BTreeMap::new();
        for (message_id, expected_outcome) in sent {
            let stored = found.ledger.contains(&ledger_id(pipeline, message_id));
            let reason = found.dead_letters.get(message_id);
            account.stored += u64::from(stored);
            if let Some(reason) = reason {
                *account.rejected.entry(reason.clone()).or_default() += 1;
            }
            if let Some(problem) = problem(*expected_outcome, stored, reason) {
                *wrong.entry(problem).or_default() += 1;
            }
        }
        account
            .discrepancies
            .extend(wrong.into_iter().map(|(what, count)| format!("{count} messages {what}")));
        account.compare_totals(sent, found);
        account
    }

    pub(super) fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    fn compare_totals(&mut self, sent: &Sent, found: &Found) {
        let stored = self.stored;
        if found.rows < stored || (found.rows > stored && !found.shared_table) {
            self.discrepancies
                .push(format!("the ledger has {stored} messages, but {} rows were added", found.rows));
        }
        if found.left_in_queue > 0 {
            self.discrepancies.push(format!("{} messages are still in the queue", found.left_in_queue));
        }
        let strange = found.dead_letters.keys().filter(|id| !sent.contains_key(*id)).count();
        if strange > 0 {
            self.discrepancies.push(format!("{strange} dead letters were never sent"));
        }
    }
}

fn problem(expected_outcome: ExpectedOutcome, stored: bool, reason: Option<&String>) -> Option<&'static str> {
    match (expected_outcome, stored, reason) {
        (_, false, None) => Some("are neither stored nor dead letters"),
        (_, true, Some(_)) => Some("are both stored and dead letters"),
        (ExpectedOutcome::Rejected(_), true, None) => {
            Some("are stored although they should have been rejected")
        }
        (ExpectedOutcome::Stored, false, Some(_)) => {
            Some("are dead letters although they should have been stored")
        }
        (expected_outcome, false, Some(reason)) if expected_outcome.reason() != Some(reason.as_str()) => {
            Some("are dead letters for another reason than expected")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilpost_proto::v1::Reason;

    const PIPELINE: &str = "demo";

    fn sent() -> Sent {
        let rejected = ExpectedOutcome::Rejected(Reason::NotJson);
        Sent::from([
            ("a".to_owned(), ExpectedOutcome::Stored),
            ("b".to_owned(), ExpectedOutcome::Stored),
            ("c".to_owned(), rejected),
        ])
    }

    fn found(stored: &[&str], dead: &[(&str, &str)]) -> Found {
        Found {
            ledger: stored.iter().map(|id| ledger_id(PIPELINE, id)).collect(),
            dead_letters: dead.iter().map(|(id, reason)| ((*id).to_owned(), (*reason).to_owned())).collect(),
            rows: u64::try_from(stored.len()).unwrap(),
            ..Found::default()
        }
    }

    fn discrepancies(found: &Found) -> String {
        Account::of(PIPELINE, &sent(), found).discrepancies.join("; ")
    }

    #[test]
    fn the_ledger_id_is_the_documented_one() {
        // printf 'a\0b' | sha256sum
        assert_eq!(ledger_id("a", "b"), [0x59, 0xb2, 0x71, 0xae, 0x1b, 0xbc, 0xb1, 0xd3, 0x1d, 0x41]);
    }

    #[test]
    fn what_is_where_it_belongs_adds_up() {
        let account = Account::of(PIPELINE, &sent(), &found(&["a", "b"], &[("c", "not-json")]));
        assert_eq!(account.discrepancies, Vec::<String>::new());
        assert_eq!((account.stored, account.rejected_total()), (2, 1));
        assert_eq!(account.rejected, BTreeMap::from([("not-json".to_owned(), 1)]));
    }

    #[test]
    fn whatever_does_not_add_up_is_named() {
        for (found, expected) in [
            (found(&["a"], &[("c", "not-json")]), "1 messages are neither"),
            (found(&["a", "b", "c"], &[("c", "not-json")]), "are both"),
            (found(&["a", "b", "c"], &[]), "should have been rejected"),
            (found(&["a"], &[("b", "not-json"), ("c", "not-json")]), "should have been stored"),
            (found(&["a", "b"], &[("c", "no-body")]), "another reason"),
            (found(&["a", "b"], &[("c", "not-json"), ("d", "not-json")]), "1 dead letters were never sent"),
            (Found { rows: 3, ..found(&["a", "b"], &[("c", "not-json")]) }, "3 rows were added"),
            (Found { left_in_queue: 1, ..found(&["a", "b"], &[("c", "not-json")]) }, "1 messages are still"),
        ] {
            assert!(discrepancies(&found).contains(expected), "{expected}: {}", discrepancies(&found));
        }
    }

    #[test]
    fn rows_of_others_are_no_discrepancy_but_missing_rows_are() {
        let shared = Found { shared_table: true, ..found(&["a", "b"], &[("c", "not-json")]) };
        assert_eq!(discrepancies(&Found { rows: 9, ..shared.clone() }), "");
        assert!(discrepancies(&Found { rows: 1, ..shared }).contains("1 rows were added"));
    }
}
