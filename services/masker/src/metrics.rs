//! The masker's metrics: their names, what they mean, and how they are counted.

use std::time::Duration;

use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use veilpost_proto::v1::Reason;
use veilpost_runtime::numbers;

const MASKED_RECORDS: &str = "veilpost_masker_masked_records_total";
const MASKED_ROWS: &str = "veilpost_masker_masked_rows_total";
const UNKNOWN_RECORDS: &str = "veilpost_masker_unknown_records_total";
const ABSENT: &str = "veilpost_masker_absent_total";
const REJECTED_RECORDS: &str = "veilpost_masker_rejected_records_total";
const LEFT_RECORDS: &str = "veilpost_masker_left_records_total";
const UNREADABLE_VERSIONS: &str = "veilpost_masker_unreadable_versions_total";
const TARGET_REFUSED: &str = "veilpost_masker_target_refused";
const POLICY_INFO: &str = "veilpost_masker_policy_info";
const POLICY_UNUSABLE: &str = "veilpost_masker_policy_unusable";
const BATCH_SECONDS: &str = "veilpost_masker_batch_seconds";

pub(crate) fn describe() {
    describe_counter!(MASKED_RECORDS, "Records masked and passed on to the writer");
    describe_counter!(
        MASKED_ROWS,
        "Rows of the masked records: one each, or as many as the message's array has"
    );
    describe_counter!(
        UNKNOWN_RECORDS,
        "Rows passed on that have none of the policy's fields, so that all of these are NULL"
    );
    describe_counter!(
        ABSENT,
        "Fields of the policy that a record does not have, or that are null, by column"
    );
    describe_counter!(REJECTED_RECORDS, "Records that can never be stored as they are, by reason");
    describe_counter!(
        LEFT_RECORDS,
        "Records that the masker could not handle; their messages stay in the queue"
    );
    describe_counter!(UNREADABLE_VERSIONS, "Versions stored as NULL because they are not an integer");
    describe_gauge!(TARGET_REFUSED, "1 while the writers refuse the policy's table or columns, else 0");
    describe_gauge!(
        POLICY_INFO,
        "1 for the policy in force, 0 for earlier ones; the label is a digest of its text"
    );
    describe_gauge!(POLICY_UNUSABLE, "1 while the files of policy and keys hold what cannot be used, else 0");
    describe_histogram!(BATCH_SECONDS, "Time to mask a batch");
}

pub(crate) fn show_target_refused(refused: bool) {
    gauge!(TARGET_REFUSED).set(f64::from(u8::from(refused)));
}

pub(crate) fn show_policy(digest: &str, in_force: bool) {
    gauge!(POLICY_INFO, "policy" => digest.to_owned()).set(f64::from(u8::from(in_force)));
}

pub(crate) fn show_policy_unusable(unusable: bool) {
    gauge!(POLICY_UNUSABLE).set(f64::from(u8::from(unusable)));
}

pub(crate) fn count_masked(records: usize) {
    counter!(MASKED_RECORDS).increment(numbers::to_u64(records));
}

pub(crate) fn count_rows(rows: u64) {
    counter!(MASKED_ROWS).increment(rows);
}

pub(crate) fn count_unknown(rows: usize) {
    counter!(UNKNOWN_RECORDS).increment(numbers::to_u64(rows));
}

/// The counter of a column's absent fields.
pub(crate) fn absent(column: &str) -> Counter {
    counter!(ABSENT, "column" => column.to_owned())
}

pub(crate) fn count_rejected(reason: Reason) {
    counter!(REJECTED_RECORDS, "reason" => reason.name()).increment(1);
}

pub(crate) fn count_left() {
    counter!(LEFT_RECORDS).increment(1);
}

pub(crate) fn count_unreadable_version() {
    counter!(UNREADABLE_VERSIONS).increment(1);
}

pub(crate) fn record_batch(duration: Duration) {
    histogram!(BATCH_SECONDS).record(duration);
}
