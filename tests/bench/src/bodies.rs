//! Bodies of messages, made before anything is measured, and the records made of them.

use jiff::Timestamp;
use veilpost_local::events::{DEFAULT_SEED, SampleEvents};
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, RawBatch, RawRecord, Target, Value};

/// Enough different ones that no cache holds the answers.
const DIFFERENT: u64 = 10_000;

/// How many messages a second the records' sent times pretend.
const SENT_PER_MS: u64 = 20;

/// Bodies to be sent again and again; at least one.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "holds what producers write")]
pub(crate) struct Bodies(Vec<String>);

impl Bodies {
    /// Normal login events.
    pub(crate) fn logins() -> Self {
        let events = SampleEvents::new(DEFAULT_SEED, 0);
        Self((0..DIFFERENT).map(|number| events.event(number).body).collect())
    }

    /// Login events with a field that no policy knows, so that each is `size` bytes long, or as long as it is
    /// without.
    pub(crate) fn logins_of(size: usize) -> Self {
        let padded = |body: &String| {
            let field = r#","padding":""#.len() + 1;
            let padding = size.saturating_sub(body.len() + field);
            if padding == 0 {
                return body.clone();
            }
            let open = body.strip_suffix('}').unwrap_or(body);
            format!("{open},\"padding\":\"{}\"}}", "x".repeat(padding))
        };
        let different = (64 << 20) / size.max(1);
        Self(Self::logins().0.iter().take(different.max(10)).map(padded).collect())
    }

    /// Objects with `fields` text fields f0, f1 and so on.
    pub(crate) fn with_fields(fields: u32) -> Self {
        let body = |number: u64| {
            let fields: Vec<String> =
                (0..fields).map(|field| format!(r#""f{field}":"value-{field:02}-{number:08}""#)).collect();
            format!("{{{}}}", fields.join(","))
        };
        Self((0..DIFFERENT / 5).map(body).collect())
    }

    pub(crate) fn of(&self, number: u64) -> &str {
        let count = u64::try_from(self.0.len()).unwrap_or(1);
        let index = usize::try_from(number % count).unwrap_or_default();
        self.0.get(index).map_or("{}", String::as_str)
    }

    pub(crate) fn mean_bytes(&self) -> f64 {
        let bytes: usize = self.0.iter().map(String::len).sum();
        veilpost_local::numbers::float(u64::try_from(bytes).unwrap_or_default())
            / veilpost_local::numbers::float(u64::try_from(self.0.len()).unwrap_or(1))
    }

    /// As a reader sends them.
    pub(crate) fn raw_batches(&self, records: u64, batch: u64) -> Vec<RawBatch> {
        let sent = Timestamp::now().as_millisecond();
        let record = |number: u64| RawRecord {
            message_id: format!("{number:08x}-0000-4000-8000-000000000000"),
            body: Some(self.of(number).to_owned().into()),
            sent_timestamp_ms: sent,
            receive_count: 1,
            ..RawRecord::default()
        };
        let batches = (0..records).step_by(usize::try_from(batch).unwrap_or(1));
        let batches = batches.map(|first| (first..records.min(first + batch)).map(record).collect());
        (1..)
            .zip(batches)
            .map(|(id, records)| RawBatch {
                id,
                pipeline: "bench".to_owned(),
                records,
                ..RawBatch::default()
            })
            .collect()
    }
}

/// What streams to the writer are opened with.
pub(crate) fn target() -> Target {
    let columns =
        ["user_id", "device_type", "masked_ip", "masked_device_id", "locale", "app_version", "create_date"];
    Target {
        table: "user_logins".to_owned(),
        columns: columns.map(str::to_owned).into(),
        ..Target::default()
    }
}

/// Rows as a masker sends them, under message ids that nobody has used; sent just now.
pub(crate) fn masked_batches(rows: u64, batch: u64) -> Vec<MaskedBatch> {
    let run: u64 = rand::random();
    let now = Timestamp::now();
    let (day, sent) = (now.strftime("%Y-%m-%d").to_string(), now.as_millisecond());
    let record = |number: u64| MaskedRecord {
        message_id: format!("{run:016x}-{number:016x}"),
        sent_timestamp_ms: sent + i64::try_from(number / SENT_PER_MS).unwrap_or_default(),
        values: values(number, &day),
        ..MaskedRecord::default()
    };
    let firsts = (0..rows).step_by(usize::try_from(batch).unwrap_or(1));
    let batches = firsts.map(|first| MaskedBatch::encoded((first..rows.min(first + batch)).map(record)));
    (1..)
        .zip(batches)
        .map(|(id, records)| MaskedBatch {
            id,
            pipeline: "bench".to_owned(),
            records,
            ..MaskedBatch::default()
        })
        .collect()
}

fn values(number: u64, day: &str) -> Vec<Value> {
    let text = |text: String| Value { kind: Some(Kind::Text(text)) };
    let digest = |salt: u64| {
        let word = (number ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words: Vec<String> =
            (0..8_u32).map(|turn| format!("{:016x}", word.rotate_left(turn * 7))).collect();
        words.concat()
    };
    vec![
        text(format!("{number:08x}-10bc-4466-aa11-61690fd154bf")),
        text("android".to_owned()),
        text(digest(1)),
        text(digest(2)),
        text("DE".to_owned()),
        Value { kind: Some(Kind::Number("23".to_owned())) },
        text(day.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilpost_masker::{HmacKeys, Mask, Policy};

    #[test]
    fn padded_logins_have_the_size_and_are_still_logins() {
        let bodies = Bodies::logins_of(1_024);
        assert_eq!(bodies.of(3).len(), 1_024);
        let mask = Mask::new(&Policy::load(None).unwrap(), &HmacKeys::default()).unwrap();
        let batches = bodies.raw_batches(10, 4);
        assert_eq!(batches.iter().map(|batch| batch.records.len()).collect::<Vec<_>>(), [4, 4, 2]);
        let masked = mask.apply(&batches[0].records[0], Timestamp::now()).map_err(|_| ()).unwrap();
        assert!(masked.record.values.iter().all(|value| value.kind.is_some()));
    }

    #[test]
    fn masked_batches_look_like_the_maskers() {
        let policy = Policy::load(None).unwrap();
        assert_eq!(policy.target(), target());
        let batches = masked_batches(5, 2);
        assert_eq!(batches.iter().map(|batch| batch.records.len()).collect::<Vec<_>>(), [2, 2, 1]);
        let Some(Kind::Text(digest)) = &batches[0].decoded().unwrap()[0].values[2].kind else {
            panic!("no text")
        };
        assert_eq!(digest.len(), 128);
    }
}
