//! The names of the metrics of reading from SQS; [`veilpost_reader_core::metrics`] has those of every reader.

use metrics::{describe_counter, describe_gauge};

pub(crate) const DELETES_GIVEN_UP: &str = "veilpost_reader_deletes_given_up_total";
pub(crate) const HEARTBEATS: &str = "veilpost_reader_heartbeats_total";
pub(crate) const HEARTBEATS_LOST: &str = "veilpost_reader_heartbeats_lost_total";
pub(crate) const ADOPTED: &str = "veilpost_reader_adopted_total";
pub(crate) const RECEIVING_STOPPED: &str = "veilpost_reader_receiving_stopped";
pub(crate) const LAST_RECEIVES_LEFT: &str = "veilpost_reader_last_receives_left_total";
pub(crate) const NO_DEAD_LETTER_QUEUE: &str = "veilpost_reader_no_dead_letter_queue";
pub(crate) const CALLS: &str = "veilpost_reader_calls_total";
pub(crate) const CALL_FAILURES: &str = "veilpost_reader_call_failures_total";
pub(crate) const ENTRY_FAILURES: &str = "veilpost_reader_entry_failures_total";
pub(crate) const QUEUE_MESSAGES: &str = "veilpost_reader_queue_messages";
pub(crate) const DEAD_LETTER_MESSAGES: &str = "veilpost_reader_dead_letter_messages";
pub(crate) const POLLERS: &str = "veilpost_reader_pollers";
pub(crate) const DELETES: &str = "veilpost_reader_deletes";

/// Describes every metric of the reader once, at start.
pub(crate) fn describe() {
    veilpost_reader_core::metrics::describe();
    describe_counter!(DELETES_GIVEN_UP, "Messages that SQS would not delete");
    describe_counter!(HEARTBEATS, "Visibility timeouts extended");
    describe_counter!(HEARTBEATS_LOST, "Deliveries that SQS would no longer extend");
    describe_counter!(ADOPTED, "Receives of messages that were in flight already");
    describe_gauge!(RECEIVING_STOPPED, "1 while nothing is received, because messages cannot be kept hidden");
    describe_counter!(
        LAST_RECEIVES_LEFT,
        "Messages left at their last receive: SQS moves them without a reason"
    );
    describe_gauge!(
        NO_DEAD_LETTER_QUEUE,
        "1 if rejected messages are left to SQS, which moves them without a reason"
    );
    describe_counter!(CALLS, "Calls to SQS: receive, delete, extend, send");
    describe_counter!(CALL_FAILURES, "Calls to SQS that failed as a whole");
    describe_counter!(ENTRY_FAILURES, "Entries refused in batches that SQS took");
    describe_gauge!(QUEUE_MESSAGES, "Messages in the queue, by SQS's own approximate counts");
    describe_gauge!(DEAD_LETTER_MESSAGES, "Messages in the dead-letter queue, approximately");
    describe_gauge!(POLLERS, "Receives that may be under way at once, at present");
    describe_gauge!(DELETES, "Batch deletes that may be under way at once, at present");
}
