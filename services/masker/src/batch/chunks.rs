//! Divides masked records into batches that fit a stream, because masking can make records larger.

use veilpost_proto::MAX_BATCH_BYTES;
use veilpost_proto::masked::RecordEncoder;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, RawBatch, RejectedRecord};

/// Tag and length around a record within its batch.
const RECORD_FRAME_BYTES: usize = 6;

/// One batch for the writer, and the positions in the raw batch of its records and then of those that are
/// rejected.
#[allow(missing_debug_implementations, reason = "holds what producers wrote")]
pub(super) struct Chunk {
    pub(super) positions: Vec<usize>,
    pub(super) batch: MaskedBatch,
}

/// A record that is larger than a batch may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// The chunks of one raw batch, filled one after the other.
pub(super) struct Chunks {
    /// A batch without records: pipeline and trace context are those of the raw batch.
    empty: MaskedBatch,
    limit: usize,
    full: Vec<Chunk>,
    /// Of the records in the chunk that is being filled.
    positions: Vec<usize>,
    encoder: RecordEncoder,
    /// The rejected records in the chunk that is being filled, with their positions.
    rejected: Vec<(usize, RejectedRecord)>,
    free: usize,
}

impl Chunks {
    pub(super) fn of(raw: &mut RawBatch) -> Self {
        let pipeline = std::mem::take(&mut raw.pipeline);
        let empty = MaskedBatch { id: u64::MAX, pipeline, trace: raw.trace.take(), ..MaskedBatch::default() };
        let limit = MAX_BATCH_BYTES.saturating_sub(prost::Message::encoded_len(&empty));
        // Masked records are often about as large as raw ones: digests are long, but many fields are left
        // out.
        let encoder = RecordEncoder::with_capacity(prost::Message::encoded_len(raw).min(limit));
        let (full, positions, rejected) = (Vec::new(), Vec::new(), Vec::new());
        Self { empty, limit, full, positions, encoder, rejected, free: limit }
    }

    pub(super) fn push(&mut self, position: usize, record: &MaskedRecord) -> Result<(), TooLarge> {
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

    /// A rejected record travels along: the writer claims its key.
    pub(super) fn reject(&mut self, position: usize, rejected: RejectedRecord) -> Result<(), TooLarge> {
        let size = prost::Message::encoded_len(&rejected) + RECORD_FRAME_BYTES;
        if size > self.limit {
            return Err(TooLarge);
        }
        if size > self.free {
            self.close();
        }
        self.free -= size;
        self.rejected.push((position, rejected));
        Ok(())
    }

    /// Ends the chunk that is being filled, unless it is empty, and begins another.
    fn close(&mut self) {
        let records = std::mem::take(&mut self.encoder).finish();
        let mut positions = std::mem::take(&mut self.positions);
        let (of_rejected, rejected): (Vec<_>, _) = std::mem::take(&mut self.rejected).into_iter().unzip();
        positions.extend(of_rejected);
        if !positions.is_empty() {
            self.full
                .push(Chunk { positions, batch: MaskedBatch { records, rejected, ..self.empty.clone() } });
        }
        self.free = self.limit;
    }

    pub(super) fn into_vec(mut self) -> Vec<Chunk> {
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
        let mut chunks = Chunks::of(&mut raw());
        for position in 0..1000 {
            assert_eq!(chunks.push(position, &record(100)), Ok(()));
        }
        let chunks = chunks.into_vec();
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].batch.pipeline, "q");
        assert_eq!(chunks[0].batch.trace, raw().trace);
    }

    #[test]
    fn a_record_larger_than_a_batch_may_be_stays_out_and_its_neighbours_do_not() {
        let mut chunks = Chunks::of(&mut raw());
        assert_eq!(chunks.push(0, &record(1)), Ok(()));
        assert_eq!(chunks.push(1, &record(MAX_BATCH_BYTES)), Err(TooLarge));
        assert_eq!(chunks.push(2, &record(1)), Ok(()));
        let chunks = chunks.into_vec();
        assert_eq!(chunks[0].positions, [0, 2]);
    }

    #[test]
    fn rejected_records_travel_behind_the_others_and_each_keeps_its_position() {
        let mut chunks = Chunks::of(&mut raw());
        let rejected = RejectedRecord { message_id: "r".to_owned(), ..RejectedRecord::default() };
        assert_eq!(chunks.reject(0, rejected.clone()), Ok(()));
        assert_eq!(chunks.push(1, &record(1)), Ok(()));
        assert_eq!(
            chunks.reject(2, RejectedRecord { detail: "x".repeat(MAX_BATCH_BYTES), ..rejected }),
            Err(TooLarge)
        );
        let chunks = chunks.into_vec();
        assert_eq!(chunks[0].positions, [1, 0]);
        assert_eq!(chunks[0].batch.rejected[0].message_id, "r");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_chunk_is_too_large_and_no_record_is_lost(
            sizes in prop::collection::vec((0_usize..2_000_000, any::<bool>()), 0..12),
        ) {
            let mut chunks = Chunks::of(&mut raw());
            for (position, (size, is_rejected)) in sizes.iter().enumerate() {
                let rejected = || RejectedRecord { detail: "x".repeat(*size), ..RejectedRecord::default() };
                let pushed =
                    if *is_rejected { chunks.reject(position, rejected()) } else { chunks.push(position, &record(*size)) };
                prop_assert_eq!(pushed, Ok(()));
            }
            let chunks = chunks.into_vec();
            let mut positions: Vec<_> = chunks.iter().flat_map(|chunk| chunk.positions.clone()).collect();
            positions.sort_unstable();
            prop_assert_eq!(positions, (0..sizes.len()).collect::<Vec<_>>());
            for mut chunk in chunks {
                prop_assert_eq!(chunk.positions.len(), chunk.batch.records.len() + chunk.batch.rejected.len());
                chunk.batch.id = u64::MAX;
                prop_assert!(chunk.batch.encoded_len() <= MAX_BATCH_BYTES);
            }
        }
    }
}
