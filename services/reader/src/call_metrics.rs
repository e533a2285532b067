//! Counts the calls to SQS, and what fails of them.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use veilpost_runtime::numbers;
use veilpost_sqs::{Call, SqsError};

use crate::metrics::{CALL_FAILURES, CALLS, ENTRY_FAILURES};

/// Counts a call under its name and returns its result.
pub(crate) fn counted<O, E, R>(call: Call, result: Result<O, SdkError<E, R>>) -> Result<O, SqsError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    metrics::counter!(CALLS, "call" => call.name()).increment(1);
    result.map_err(|error| {
        metrics::counter!(CALL_FAILURES, "call" => call.name()).increment(1);
        SqsError::from_sdk(&error, call)
    })
}

/// Counts the entries that SQS refused in a batch that it took.
pub(crate) fn count_refused(call: Call, refused: usize) {
    if refused > 0 {
        metrics::counter!(ENTRY_FAILURES, "call" => call.name()).increment(numbers::to_u64(refused));
    }
}
