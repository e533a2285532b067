//! Divides masked records into batches that fit a stream: masking can make records larger than they came.

use veilpost_proto::MAX_BATCH_BYTES;
use veilpost_proto::masked::RecordEncoder;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, RawBatch};

/// Tag and length around a record within its batch.
const RECORD_FRAME_BYTES: usize = 6;

/// One batch for the writer, and where its records stood in the raw batch.
#[allow(missing_debug_implementations, reason = "holds what producers wrote")]
pub(crate) struct Share {
    pub(crate) positions: Vec<u32>,
    pub(crate) batch: MaskedBatch,
}

/// The record is larger than a batch may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

pub(crate) struct Shares {
    /// A batch without records: pipeline and trace context are those of the raw batch.
    empty: MaskedBatch,
    limit: usize,
    full: Vec<Share>,
    /// The share that records are added to.
    positions: Vec<u32>,
    encoder: RecordEncoder,
    free: usize,
}

impl Shares {
    pub(crate) fn of(raw: &mut RawBatch) -> Self {
        let pipeline = std::mem::take(&mut raw.pipeline);
        let empty = MaskedBatch { id: u64::MAX, pipeline, trace: raw.trace.take(), ..MaskedBatch::default() };
        let limit = MAX_BATCH_BYTES.saturating_sub(prost::Message::encoded_len(&empty));
        // Often about as much comes out as went in: digests are long, and many fields stay behind.
        let encoder = RecordEncoder::with_capacity(prost::Message::encoded_len(raw).min(limit));
        Self { empty, limit, full: Vec::new(), positions: Vec::new(), encoder, free: limit }
    }

    pub(crate) fn push(&mut self, position: u32, record: &MaskedRecord) -> Result<(), TooLarge> {
        let size = self.encoder.push(record) + RECORD_FRAME_BYTES;
        if size > self.free {
            self.encoder.pop();
            if size > self.limit {
                return Err(TooLarge);
            }
            self.close();
            self.encoder.push(record);
        }
        self.free -= size;
        self.positions.push(position);
        Ok(())
    }

    /// Ends the share that records are added to, if it has any, and begins another.
    fn close(&mut self) {
        let records = std::mem::take(&mut self.encoder).finish();
        let positions = std::mem::take(&mut self.positions);
        if !positions.is_empty() {
            self.full.push(Share { positions, batch: MaskedBatch { records, ..self.empty.clone() } });
        }
        self.free = self.limit;
    }

    pub(crate) fn into_vec(mut self) -> Vec<Share> {
        self.close();
        self.full
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use veilpost_proto::v1::value::Kind;
    use veilpost_proto::v1::{TraceContext, Value};

    use super::*;

    fn record(bytes: usize) -> MaskedRecord {
        let value = Value { kind: Some(Kind::Text("x".repeat(bytes))) };
        MaskedRecord { values: vec![value], ..MaskedRecord::default() }
    }

    fn raw() -> RawBatch {
        let trace = TraceContext { traceparent: "00-1-2-01".to_owned(), ..TraceContext::default() };
        RawBatch {
            id: 5,
            pipeline: "q".to_owned(),
            records: vec![],
            trace: Some(trace),
            ..RawBatch::default()
        }
    }

    #[test]
    fn what_fits_is_one_batch_with_pipeline_and_trace_of_the_raw_one() {
        let mut shares = Shares::of(&mut raw());
        for position in 0..1000 {
            assert_eq!(shares.push(position, &record(100)), Ok(()));
        }
        let shares = shares.into_vec();
        assert_eq!(shares.len(), 1);
        assert_eq!(shares[0].batch.pipeline, "q");
        assert_eq!(shares[0].batch.trace, raw().trace);
    }

    #[test]
    fn a_record_larger_than_a_batch_may_be_stays_out_and_its_neighbours_do_not() {
        let mut shares = Shares::of(&mut raw());
        assert_eq!(shares.push(0, &record(1)), Ok(()));
        assert_eq!(shares.push(1, &record(MAX_BATCH_BYTES)), Err(TooLarge));
        assert_eq!(shares.push(2, &record(1)), Ok(()));
        let shares = shares.into_vec();
        assert_eq!(shares[0].positions, [0, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_share_is_too_large_and_no_record_is_lost(sizes in prop::collection::vec(0_usize..2_000_000, 0..12)) {
            let mut shares = Shares::of(&mut raw());
            for (position, size) in (0_u32..).zip(&sizes) {
                prop_assert_eq!(shares.push(position, &record(*size)), Ok(()));
            }
            let shares = shares.into_vec();
            let positions: Vec<_> = shares.iter().flat_map(|share| share.positions.clone()).collect();
            prop_assert_eq!(positions, (0_u32..).take(sizes.len()).collect::<Vec<_>>());
            for mut share in shares {
                prop_assert_eq!(share.positions.len(), share.batch.records.len());
                share.batch.id = u64::MAX;
                prop_assert!(share.batch.encoded_len() <= MAX_BATCH_BYTES);
            }
        }
    }
}
