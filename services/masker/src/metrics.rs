//! The masker's metrics.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};
use veilpost_proto::v1::Reason;

const RECORDS: &str = "veilpost_masker_masked_records_total";
const REJECTED: &str = "veilpost_masker_rejected_records_total";
const LEFT: &str = "veilpost_masker_left_records_total";
const UNREADABLE: &str = "veilpost_masker_unreadable_versions_total";
const BATCH: &str = "veilpost_masker_batch_seconds";

pub(crate) fn describe() {
    describe_counter!(RECORDS, "Records masked and passed on to the writer");
    describe_counter!(REJECTED, "Records that can never be stored as they are, by reason");
    describe_counter!(LEFT, "Records that the masker could not handle; their messages stay in the queue");
    describe_counter!(UNREADABLE, "Versions that were stored as NULL because they are no integer");
    describe_histogram!(BATCH, "Time to mask a batch");
}

pub(crate) fn masked(records: usize) {
    counter!(RECORDS).increment(records.try_into().unwrap_or(0));
}

pub(crate) fn rejected(reason: Reason) {
    counter!(REJECTED, "reason" => reason.name()).increment(1);
}

pub(crate) fn left() {
    counter!(LEFT).increment(1);
}

pub(crate) fn unreadable_version() {
    counter!(UNREADABLE).increment(1);
}

pub(crate) fn batch(duration: Duration) {
    histogram!(BATCH).record(duration);
}
