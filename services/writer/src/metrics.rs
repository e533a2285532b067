//! The writer's metrics, named and described in one place.

use std::time::Duration;

use metrics::{
    Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use veilpost_proto::v1::{Outcome, Receipt, Rejection};
use veilpost_runtime::numbers::{to_f64, to_usize};

const BATCHES: &str = "veilpost_writer_batches_total";
const RECORDS: &str = "veilpost_writer_records_total";
const ROWS_SUPERSEDED: &str = "veilpost_writer_rows_superseded_total";
const COMMIT_RECORDS: &str = "veilpost_writer_commit_records";
const COMMIT_SECONDS: &str = "veilpost_writer_commit_duration_seconds";
const END_TO_END: &str = "veilpost_writer_end_to_end_seconds";
const RETRIES: &str = "veilpost_writer_retries_total";
const FALLBACKS: &str = "veilpost_writer_ledger_fallbacks_total";
const LEFT: &str = "veilpost_writer_left_total";
const HELD: &str = "veilpost_writer_held_records";
const TRUNCATED: &str = "veilpost_writer_ledger_slots_truncated_total";
const QUEUE: &str = "veilpost_writer_queue_batches";
const STREAMS: &str = "veilpost_writer_streams";
const CLOCKS_DISAGREE: &str = "veilpost_writer_clocks_disagree";
const URL_STALE: &str = "veilpost_writer_database_url_stale";
const DATABASE_UP: &str = "veilpost_writer_database_up";

pub(crate) fn describe() {
    describe_counter!(BATCHES, "Batches answered with a receipt");
    describe_counter!(RECORDS, "Records by outcome, and rejected ones by reason");
    describe_counter!(ROWS_SUPERSEDED, "Rows of stored records that gave way to others by on_conflict");
    describe_histogram!(COMMIT_RECORDS, "Records stored by one commit; a record may have several rows");
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "Time of one statement with its commit, or of one search for records to blame"
    );
    describe_histogram!(END_TO_END, Unit::Seconds, "From sent to committed, by the database's clock");
    describe_counter!(RETRIES, "Statements that failed and were tried again, by class of error");
    describe_counter!(FALLBACKS, "Statements run again because the ledger knew one of their keys");
    describe_counter!(LEFT, "Records left in the queue, neither stored nor rejected, by cause");
    describe_gauge!(HELD, "Records held back because nothing at all can be stored, by class of error");
    describe_counter!(TRUNCATED, "Slots of the ledger that upkeep has emptied");
    describe_gauge!(QUEUE, "Batches that wait for their commit");
    describe_gauge!(STREAMS, "Open streams");
    describe_gauge!(CLOCKS_DISAGREE, "1 while the clocks of database, host and queue are over an hour apart");
    describe_gauge!(URL_STALE, "1 while DATABASE_URL_FILE cannot be used and the URL before it is");
    describe_gauge!(DATABASE_UP, "1 when Postgres answered the last statement, 0 when it did not");
}

pub(crate) fn receipt(receipt: &Receipt) {
    counter!(BATCHES).increment(1);
    let (mut stored, mut duplicate) = (0, 0);
    for outcome in &receipt.outcomes {
        match Outcome::try_from(i32::from(*outcome)) {
            Ok(Outcome::Stored) => stored += 1,
            Ok(Outcome::Duplicate) => duplicate += 1,
            _ => {}
        }
    }
    counter!(RECORDS, "outcome" => "stored", "reason" => "").increment(stored);
    counter!(RECORDS, "outcome" => "duplicate", "reason" => "").increment(duplicate);
    for rejection in rejected(receipt) {
        counter!(RECORDS, "outcome" => "rejected", "reason" => rejection.reason().name()).increment(1);
    }
}

/// An undecided record has its reason in the receipt too, and is not rejected.
fn rejected(receipt: &Receipt) -> impl Iterator<Item = &Rejection> {
    receipt.rejections.iter().filter(|rejection| {
        let outcome = receipt.outcomes.get(to_usize(rejection.index));
        outcome == Some(&Outcome::Rejected.byte())
    })
}

/// Shows, for as long as it exists, how many records are held back for a class of errors.
#[derive(Debug)]
pub(crate) struct HeldCount {
    class: &'static str,
    records: f64,
}

impl HeldCount {
    pub(crate) fn new(class: &'static str, records: usize) -> Self {
        let records = to_f64(records);
        gauge!(HELD, "class" => class).increment(records);
        Self { class, records }
    }
}

impl Drop for HeldCount {
    fn drop(&mut self) {
        gauge!(HELD, "class" => self.class).decrement(self.records);
    }
}

/// Why a record is neither stored nor rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    OutsideWindow,
    Undecided,
}

pub(crate) fn left(cause: Cause) {
    let cause = match cause {
        Cause::OutsideWindow => "outside_window",
        Cause::Undecided => "undecided",
    };
    counter!(LEFT, "cause" => cause).increment(1);
}

pub(crate) fn commit(rows: usize, took: Duration) {
    gauge!(DATABASE_UP).set(1.0);
    histogram!(COMMIT_RECORDS).record(to_f64(rows));
    histogram!(COMMIT_SECONDS).record(took);
}

pub(crate) fn rows_superseded(rows: u64) {
    counter!(ROWS_SUPERSEDED).increment(rows);
}

pub(crate) fn end_to_end() -> Histogram {
    histogram!(END_TO_END)
}

pub(crate) fn retry(class: &'static str) {
    counter!(RETRIES, "class" => class).increment(1);
}

pub(crate) fn ledger_fallback() {
    counter!(FALLBACKS).increment(1);
}

pub(crate) fn slot_truncated() {
    counter!(TRUNCATED).increment(1);
}

pub(crate) fn queue_depth(batches: usize) {
    gauge!(QUEUE).set(to_f64(batches));
}

pub(crate) fn database_up(up: bool) {
    gauge!(DATABASE_UP).set(if up { 1.0 } else { 0.0 });
}

pub(crate) fn clocks_disagree(disagree: bool) {
    gauge!(CLOCKS_DISAGREE).set(if disagree { 1.0 } else { 0.0 });
}

pub(crate) fn database_url_stale(stale: bool) {
    gauge!(URL_STALE).set(if stale { 1.0 } else { 0.0 });
}

/// Counts an open stream until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamCount(());

impl StreamCount {
    pub(crate) fn new() -> Self {
        gauge!(STREAMS).increment(1.0);
        Self(())
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        gauge!(STREAMS).decrement(1.0);
    }
}
