//! The oracle: compares the messages that were sent with those found at the end. Each must be found exactly
//! once.

use std::collections::{BTreeMap, HashMap};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};

use crate::mix::Expected;

/// The secret of the harness's policy: id and bytes.
pub(crate) const KEY: (&str, [u8; 32]) = ("k1", [0x0b; 32]);

/// The domain of the keyed column in the harness's policy.
pub(crate) const DOMAIN: &str = "device";

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundRow {
    pub(crate) message_id: String,
    pub(crate) masked_ip: Option<String>,
    pub(crate) masked_device_id: Option<String>,
}

/// A message in the dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundDeadLetter {
    pub(crate) message_id: String,
    pub(crate) reason: String,
    pub(crate) fingerprint: u64,
}

/// What was found when the faults were over and the queue had drained.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) rows: Vec<FoundRow>,
    pub(crate) letters: Vec<FoundDeadLetter>,
    /// Rows whose key is not in the ledger, by the database's own arithmetic.
    pub(crate) rows_without_key: u64,
    /// Keys in the ledger that belong to no row.
    pub(crate) keys_without_row: u64,
}

/// What has become of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MessageVerdict {
    Right,
    Lost,
    Twice,
    RowAndDeadLetter,
    WrongOutcome,
    WrongReason,
    WrongBody,
    WrongDigest,
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconciliation {
    /// Messages with a row.
    pub(crate) stored: u64,
    pub(crate) stored_rows: u64,
    pub(crate) dead_lettered: u64,
    /// Further copies of letters: the dead-letter queue is at-least-once.
    pub(crate) copies: u64,
    /// Every message that was sent, with what has become of it.
    pub(crate) verdicts: HashMap<String, MessageVerdict>,
    /// Rows and dead letters of messages that were never sent.
    pub(crate) strangers: u64,
    pub(crate) ledger_differs: u64,
}

impl Reconciliation {
    pub(crate) fn of(sent: &HashMap<String, Expected>, found: &Findings) -> Self {
        let mut rows: HashMap<&str, Vec<&FoundRow>> = HashMap::new();
        for row in &found.rows {
            rows.entry(&row.message_id).or_default().push(row);
        }
        let mut letters: HashMap<&str, Vec<&FoundDeadLetter>> = HashMap::new();
        for letter in &found.letters {
            letters.entry(&letter.message_id).or_default().push(letter);
        }
        let strange = |id: &&&str| !sent.contains_key(**id);
        let strangers = rows.keys().filter(strange).count() + letters.keys().filter(strange).count();
        let judge = |(id, expected): (&String, &Expected)| {
            let rows = rows.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let letters = letters.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
            (id.clone(), verdict(expected, rows, letters))
        };
        Self {
            stored: count(rows.len()),
            stored_rows: count(found.rows.len()),
            dead_lettered: count(letters.len()),
            copies: count(found.letters.len() - letters.len()),
            verdicts: sent.iter().map(judge).collect(),
            strangers: count(strangers),
            ledger_differs: found.rows_without_key + found.keys_without_row,
        }
    }

    /// How many messages have each verdict but the right one, with the id of one of them.
    pub(crate) fn wrong(&self) -> BTreeMap<MessageVerdict, (u64, &str)> {
        let mut wrong: BTreeMap<MessageVerdict, (u64, &str)> = BTreeMap::new();
        for (id, verdict) in self.verdicts.iter().filter(|(_, verdict)| **verdict != MessageVerdict::Right) {
            wrong.entry(*verdict).or_insert((0, id)).0 += 1;
        }
        wrong
    }
}

fn verdict(expected: &Expected, rows: &[&FoundRow], letters: &[&FoundDeadLetter]) -> MessageVerdict {
    match (expected.reason, rows, letters) {
        (_, [], []) => MessageVerdict::Lost,
        (_, [_, _, ..], _) => MessageVerdict::Twice,
        (_, [_], [_, ..]) => MessageVerdict::RowAndDeadLetter,
        (Some(_), [_], []) | (None, [], [_, ..]) => MessageVerdict::WrongOutcome,
        (Some(reason), [], letters) if letters.iter().any(|letter| letter.reason != reason) => {
            MessageVerdict::WrongReason
        }
        (Some(_), [], letters) if letters.iter().any(|letter| letter.fingerprint != expected.fingerprint) => {
            MessageVerdict::WrongBody
        }
        (Some(_), [], _) => MessageVerdict::Right,
        (None, [row], []) if is_masked(expected, row) => MessageVerdict::Right,
        (None, [_], []) => MessageVerdict::WrongDigest,
    }
}

fn is_masked(expected: &Expected, row: &FoundRow) -> bool {
    row.masked_ip == expected.ip.as_deref().map(digest)
        && row.masked_device_id == expected.device_id.as_deref().map(keyed_digest)
}

fn digest(text: &str) -> String {
    hex(&Sha512::digest(text))
}

/// As README documents it: the key's id, then HMAC-SHA-512 over domain, NUL and text.
fn keyed_digest(text: &str) -> String {
    let (id, key) = KEY;
    let mac = Hmac::<Sha512>::new_from_slice(&key).expect("a key of any length is taken");
    let mac = mac.chain_update(DOMAIN).chain_update([0]).chain_update(text);
    format!("{id}.{}", hex(&mac.finalize().into_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(reason: Option<&'static str>) -> Expected {
        Expected { reason, fingerprint: 7, ..Expected::default() }
    }

    fn row(id: &str) -> FoundRow {
        FoundRow { message_id: id.to_owned(), masked_ip: None, masked_device_id: None }
    }

    fn letter(id: &str, reason: &str) -> FoundDeadLetter {
        FoundDeadLetter { message_id: id.to_owned(), reason: reason.to_owned(), fingerprint: 7 }
    }

    /// The verdict on one message "a" that was to have this outcome.
    fn verdict_on(
        reason: Option<&'static str>,
        rows: Vec<FoundRow>,
        letters: Vec<FoundDeadLetter>,
    ) -> MessageVerdict {
        let sent = HashMap::from([("a".to_owned(), expected(reason))]);
        let account = Reconciliation::of(&sent, &Findings { rows, letters, ..Findings::default() });
        account.verdicts["a"]
    }

    #[test]
    fn every_wrong_outcome_has_its_own_verdict() {
        let not_json = Some("not-json");
        for (reason, rows, letters, expected) in [
            (None, vec![row("a")], vec![], MessageVerdict::Right),
            (not_json, vec![], vec![letter("a", "not-json")], MessageVerdict::Right),
            (not_json, vec![], vec![letter("a", "not-json"), letter("a", "not-json")], MessageVerdict::Right),
            (None, vec![], vec![], MessageVerdict::Lost),
            (not_json, vec![], vec![], MessageVerdict::Lost),
            (None, vec![row("a"), row("a")], vec![], MessageVerdict::Twice),
            (None, vec![row("a")], vec![letter("a", "not-json")], MessageVerdict::RowAndDeadLetter),
            (not_json, vec![row("a")], vec![letter("a", "not-json")], MessageVerdict::RowAndDeadLetter),
            (not_json, vec![row("a")], vec![], MessageVerdict::WrongOutcome),
            (None, vec![], vec![letter("a", "not-json")], MessageVerdict::WrongOutcome),
            (not_json, vec![], vec![letter("a", "no-body")], MessageVerdict::WrongReason),
            (not_json, vec![], vec![letter("a", "")], MessageVerdict::WrongReason),
            (
                not_json,
                vec![],
                vec![FoundDeadLetter { fingerprint: 8, ..letter("a", "not-json") }],
                MessageVerdict::WrongBody,
            ),
            (
                None,
                vec![FoundRow { masked_ip: Some("x".into()), ..row("a") }],
                vec![],
                MessageVerdict::WrongDigest,
            ),
        ] {
            assert_eq!(verdict_on(reason, rows, letters), expected);
        }
    }

    #[test]
    fn rows_and_dead_letters_of_unsent_messages_are_counted_and_so_are_copies() {
        let sent = HashMap::from([("a".to_owned(), expected(Some("not-json")))]);
        let letters = vec![letter("a", "not-json"), letter("a", "not-json"), letter("b", "not-json")];
        let account =
            Reconciliation::of(&sent, &Findings { rows: vec![row("c")], letters, ..Findings::default() });
        assert_eq!((account.strangers, account.copies), (2, 1));
        assert!(account.wrong().is_empty() && account.verdicts.len() == 1);
    }

    #[test]
    fn digests_are_those_of_other_programs() {
        // printf 1.2.3.4 | sha512sum
        assert!(digest("1.2.3.4").starts_with("7ac2a0346e5f13a0"), "{}", digest("1.2.3.4"));
        // printf 'device\0d' | openssl dgst -sha512 -mac HMAC -macopt hexkey:$(printf 0b%.0s {1..32})
        assert!(keyed_digest("d").starts_with("k1.95033db04e37be22"), "{}", keyed_digest("d"));
    }
}
