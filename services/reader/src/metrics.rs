//! The names of the reader's metrics and what they mean.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Describes every metric once, at start.
pub(crate) fn describe() {
    describe_counter!("veilpost_reader_deliveries_total", "Messages received");
    describe_counter!(
        "veilpost_reader_deliveries_without_sent_time_total",
        "Messages received for which the queue gave no sent time"
    );
    describe_counter!("veilpost_reader_suspects_total", "Deliveries under suspicion for their receive count");
    describe_counter!(
        "veilpost_reader_settled_total",
        "Deliveries settled: delete, dead-letter, leave, return"
    );
    describe_counter!("veilpost_reader_rejected_total", "Records rejected, by reason");
    describe_counter!("veilpost_reader_deletes_given_up_total", "Messages that SQS would not delete");
    describe_counter!("veilpost_reader_heartbeats_total", "Visibility timeouts extended");
    describe_counter!("veilpost_reader_heartbeats_lost_total", "Deliveries that SQS would no longer extend");
    describe_counter!("veilpost_reader_calls_total", "Calls to SQS: receive, delete, extend, send");
    describe_counter!("veilpost_reader_call_failures_total", "Calls to SQS that failed as a whole");
    describe_counter!("veilpost_reader_entry_failures_total", "Entries refused in batches that SQS took");
    describe_gauge!("veilpost_reader_in_flight_messages", "Messages received and not yet settled");
    describe_gauge!("veilpost_reader_in_flight_bytes", "Bytes of messages received and not yet settled");
    describe_gauge!("veilpost_reader_in_flight_oldest_seconds", "Time since the oldest unsettled receive");
    describe_gauge!(
        "veilpost_reader_queue_messages",
        "Messages in the queue, by SQS's own approximate counts"
    );
    describe_gauge!(
        "veilpost_reader_dead_letter_messages",
        "Messages in the dead-letter queue, approximately"
    );
    describe_gauge!("veilpost_reader_pollers", "Receives that may be under way at once, at present");
    describe_gauge!("veilpost_reader_deletes", "Batch deletes that may be under way at once, at present");
    describe_histogram!("veilpost_reader_batch_records", "Records in a batch to the masker");
}

/// A count as metrics take it.
pub(crate) fn real(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}
