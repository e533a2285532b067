//! The names of the metrics that every reader records, whatever it reads from.
//!
//! A metric whose description says so is recorded by the source's own code, because only that code sees the
//! event.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Counter of messages received. Recorded by the source.
pub const DELIVERIES: &str = "veilpost_reader_deliveries_total";

/// Counter of messages received without a sent time. Recorded by the source.
pub const DELIVERIES_WITHOUT_SENT_TIME: &str = "veilpost_reader_deliveries_without_sent_time_total";

/// Counter of deliveries that share no batch with others. Recorded by the source.
pub const SUSPECTS: &str = "veilpost_reader_suspects_total";

/// Counter of deliveries settled; label `action`. Recorded by whoever removes the delivery: by the source,
/// and by the core where the source has nothing that leaves deliveries.
pub const SETTLED: &str = "veilpost_reader_settled_total";

/// Counter of records rejected; label `reason`.
pub const REJECTED: &str = "veilpost_reader_rejected_total";

/// Counter of records neither stored nor rejected, or rejected without a place to go; label `reason`.
pub const LEFT: &str = "veilpost_reader_left_total";

/// Gauge of messages received and not yet settled.
pub const IN_FLIGHT_MESSAGES: &str = "veilpost_reader_in_flight_messages";

/// Gauge of bytes of messages received and not yet settled.
pub const IN_FLIGHT_BYTES: &str = "veilpost_reader_in_flight_bytes";

/// Gauge of the age of the oldest unsettled delivery, in seconds. Recorded by the source.
pub const IN_FLIGHT_OLDEST: &str = "veilpost_reader_in_flight_oldest_seconds";

/// Histogram of the records in a batch to the masker.
pub const BATCH_RECORDS: &str = "veilpost_reader_batch_records";

/// Describes every metric of this file; to be called once, after the metrics recorder is installed.
pub fn describe() {
    describe_counter!(DELIVERIES, "Messages received");
    describe_counter!(
        DELIVERIES_WITHOUT_SENT_TIME,
        "Messages received for which the source gave no sent time"
    );
    describe_counter!(SUSPECTS, "Deliveries that share no batch with others because of their receive count");
    describe_counter!(SETTLED, "Deliveries settled: delete, dead-letter, leave, release");
    describe_counter!(REJECTED, "Records rejected, by reason");
    describe_counter!(LEFT, "Records left in the source, by reason");
    describe_gauge!(IN_FLIGHT_MESSAGES, "Messages received and not yet settled");
    describe_gauge!(IN_FLIGHT_BYTES, "Bytes of messages received and not yet settled");
    describe_gauge!(IN_FLIGHT_OLDEST, "Time since the oldest unsettled receive");
    describe_histogram!(BATCH_RECORDS, "Records in a batch to the masker");
}
