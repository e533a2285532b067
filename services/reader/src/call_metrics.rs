//! Counts the calls to SQS and what fails of them.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::error::Problem;

/// Passes on what became of a call, counted under its name.
pub(crate) fn counted<O, E, R>(call: &'static str, result: Result<O, SdkError<E, R>>) -> Result<O, Problem>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    metrics::counter!("veilpost_reader_calls_total", "call" => call).increment(1);
    result.map_err(|error| {
        metrics::counter!("veilpost_reader_call_failures_total", "call" => call).increment(1);
        Problem::from_sdk(&error)
    })
}

/// Counts entries that SQS refused in batches that it took.
pub(crate) fn count(call: &'static str, refused: usize) {
    if let Ok(refused @ 1..) = u64::try_from(refused) {
        metrics::counter!("veilpost_reader_entry_failures_total", "call" => call).increment(refused);
    }
}
