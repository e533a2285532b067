//! The entries of a batch call to SQS, and what became of each.

use aws_sdk_sqs::types::BatchResultErrorEntry;
use veilpost_sqs::{Call, SqsError};

use crate::call_metrics::count_refused;

/// What SQS did with one entry of a batch.
pub(crate) type EntryResult = Result<(), EntryRefusal>;

/// Why SQS did not do what one entry of a batch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryRefusal {
    pub(crate) code: String,
    /// The entry itself is at fault, so that asking again cannot help.
    pub(crate) sender_fault: bool,
}

impl EntryRefusal {
    /// Whether the receipt handle is at fault: another receive has a newer one, or the message is gone.
    pub(crate) fn blames_handle(&self) -> bool {
        self.sender_fault && !self.problem(Call::Delete).is_denial()
    }

    /// The refusal as the error of a call.
    pub(crate) fn problem(&self, call: Call) -> SqsError {
        SqsError::from_code(&self.code, "", call)
    }
}

/// The entries of a request.
pub(crate) fn built<T, E>(entries: impl Iterator<Item = Result<T, E>>) -> Result<Vec<T>, SqsError> {
    entries.collect::<Result<_, _>>().map_err(|_| SqsError::Code("InvalidEntry".to_owned()))
}

/// One result for each of `entries` entries, by position; their ids are their positions. An entry that the
/// answer does not mention counts as not done.
pub(crate) fn results<'a>(
    call: Call,
    entries: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<EntryResult> {
    let missing = || Err(EntryRefusal { code: "NotAnswered".to_owned(), sender_fault: false });
    let mut results: Vec<EntryResult> = (0..entries).map(|_| missing()).collect();
    let mut set = |id: &str, result: EntryResult| {
        if let Some(slot) = id.parse().ok().and_then(|index: usize| results.get_mut(index)) {
            *slot = result;
        }
    };
    successful.for_each(|id| set(id, Ok(())));
    for entry in failed {
        set(&entry.id, Err(EntryRefusal { code: entry.code.clone(), sender_fault: entry.sender_fault }));
    }
    count_refused(call, results.iter().filter(|result| result.is_err()).count());
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(id: &str, sender_fault: bool) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder().id(id).sender_fault(sender_fault).code("C").build().unwrap()
    }

    #[test]
    fn every_entry_gets_its_own_result_by_position() {
        let results = results(Call::Delete, 4, ["2", "0"].into_iter(), &[failed("1", true)]);
        let refusal = |code: &str, sender_fault| Err(EntryRefusal { code: code.to_owned(), sender_fault });
        assert_eq!(results, [Ok(()), refusal("C", true), Ok(()), refusal("NotAnswered", false)]);
    }

    #[test]
    fn ids_that_were_not_asked_about_are_ignored() {
        assert_eq!(results(Call::Delete, 1, ["0", "7", "x"].into_iter(), &[failed("-1", true)]), [Ok(())]);
    }
}
