//! Transforms that need no field: what is known of a message without its body.

use jiff::Timestamp;
use jiff::tz::Offset;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{RawRecord, Reason};

use super::storable::storable_text;

/// What of the message becomes the column's value. Days and times are in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageTransform {
    /// The day on which the masker got the message.
    IngestDate,
    /// The day on which the message reached the queue.
    SentDate,
    /// The millisecond in which the message reached the queue.
    SentTimestamp,
    MessageId,
}

impl MessageTransform {
    /// The column's value; `now` is the time of ingestion.
    ///
    /// A sent time outside the calendar gives `None`, which becomes NULL. The masker does not reject the
    /// record, because the writer judges it by this time anyway.
    pub(crate) fn apply(self, record: &RawRecord, now: Timestamp) -> Result<Option<Kind>, Reason> {
        let sent = Timestamp::from_millisecond(record.sent_timestamp_ms).ok();
        Ok(match self {
            Self::IngestDate => Some(utc_day(now)),
            Self::SentDate => sent.map(utc_day),
            Self::SentTimestamp => sent.map(|sent| Kind::Text(format!("{sent:.3}"))),
            Self::MessageId => Some(storable_text(record.message_id.clone())?),
        })
    }
}

fn utc_day(time: Timestamp) -> Kind {
    Kind::Text(Offset::UTC.to_datetime(time).date().to_string())
}
