//! Transforms that need no field: what is known of a message without its body.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{RawRecord, Reason};

use super::storable::storable_text;
use super::trace_id::trace_id;

/// What of the message becomes the column's value. Times are in UTC, days in the time zone that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MessageTransform {
    /// The day on which the masker got the message.
    IngestDate(TimeZone),
    /// The day on which the message reached the queue.
    SentDate(TimeZone),
    /// The millisecond in which the message reached the queue.
    SentTimestamp,
    MessageId,
    /// The trace that the producer sent the message in; NULL when the message carries none.
    TraceId,
}

impl MessageTransform {
    /// The column's value; `now` is the time of ingestion.
    ///
    /// A sent time outside the calendar gives `None`, which becomes NULL. The masker does not reject the
    /// record, because the writer judges it by this time anyway.
    pub(crate) fn apply(&self, record: &RawRecord, now: Timestamp) -> Result<Option<Kind>, Reason> {
        let sent = Timestamp::from_millisecond(record.sent_timestamp_ms).ok();
        Ok(match self {
            Self::IngestDate(zone) => Some(day(now, zone)),
            Self::SentDate(zone) => sent.map(|sent| day(sent, zone)),
            Self::SentTimestamp => sent.map(|sent| Kind::Text(format!("{sent:.3}"))),
            Self::MessageId => Some(storable_text(record.message_id.clone())?),
            Self::TraceId => record
                .producer
                .as_ref()
                .and_then(|producer| trace_id(&producer.traceparent))
                .map(|id| Kind::Text(id.to_owned())),
        })
    }
}

fn day(time: Timestamp, zone: &TimeZone) -> Kind {
    Kind::Text(zone.to_datetime(time).date().to_string())
}
