//! What all batches have in common: one to ten entries with distinct ids, which fail one by one.

use std::collections::HashSet;

use serde::Serialize;

use crate::queue::state::{Code, SqsError};

const MAX_ENTRIES: usize = 10;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchAnswer<T> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    code: String,
    message: String,
    sender_fault: bool,
}

/// A successful entry that has nothing more to say.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Succeeded {
    pub(super) id: String,
}

/// An entry of a batch.
pub(super) trait Entry {
    fn id(&self) -> &str;
}

impl<T> BatchAnswer<T> {
    /// Runs `work` for each entry.
    pub(super) fn of<E: Entry>(
        entries: Vec<E>,
        work: impl FnMut(E) -> Result<T, SqsError>,
    ) -> Result<Self, SqsError> {
        check_ids(entries.iter().map(Entry::id))?;
        Ok(BatchAnswer { successful: entries, failed: Vec::new() }.then(work))
    }
}

impl<E: Entry> BatchAnswer<E> {
    /// Runs `work` for each entry that has not failed yet.
    pub(super) fn then<T>(self, mut work: impl FnMut(E) -> Result<T, SqsError>) -> BatchAnswer<T> {
        let mut answer = BatchAnswer { successful: Vec::new(), failed: self.failed };
        for entry in self.successful {
            let id = entry.id().to_owned();
            match work(entry) {
                Ok(done) => answer.successful.push(done),
                Err(SqsError { code, message }) => {
                    let code = code.entry_code();
                    answer.failed.push(Failed { id, code, message, sender_fault: true });
                }
            }
        }
        answer
    }
}

fn check_ids<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), SqsError> {
    let error = |code, text: &str| Err(SqsError::new(code, text));
    let count = ids.len();
    if count == 0 {
        return error(Code::EmptyBatchRequest, "There should be at least one entry in the request.");
    }
    if count > MAX_ENTRIES {
        let text = format!("Maximum number of entries per request are {MAX_ENTRIES}. You have sent {count}.");
        return error(Code::TooManyEntriesInBatchRequest, &text);
    }
    let mut seen = HashSet::new();
    for id in ids {
        if !is_id(id) {
            let text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It \
                        can be at most 80 letters long.";
            return error(Code::InvalidBatchEntryId, text);
        }
        if !seen.insert(id) {
            return error(Code::BatchEntryIdsNotDistinct, &format!("Id {id} repeated."));
        }
    }
    Ok(())
}

fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=80).contains(&id.len()) && id.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_to_ten_distinct_short_names() {
        let code = |ids: &[&str]| check_ids(ids.iter().copied()).err().map(|error| error.code);
        assert_eq!(code(&["0", "1", "a-_Z"]), None);
        assert_eq!(code(&[]), Some(Code::EmptyBatchRequest));
        assert_eq!(code(&["0"; 11]), Some(Code::TooManyEntriesInBatchRequest));
        assert_eq!(code(&["0", "0"]), Some(Code::BatchEntryIdsNotDistinct));
        for wrong in ["", "a b", "ä", "a.b", &"x".repeat(81)] {
            assert_eq!(code(&[wrong]), Some(Code::InvalidBatchEntryId), "{wrong}");
        }
    }
}
