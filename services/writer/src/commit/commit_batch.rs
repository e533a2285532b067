//! The batches of one commit, merged: their records in rounds of distinct keys, their outcomes by batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tonic::Status;
use tracing::Span;
use veilpost_proto::ReceiptBuilder;
use veilpost_proto::frame::MASKED_RECORD_BYTES;
use veilpost_proto::v1::{Reason, Receipt};
use veilpost_runtime::{ByteBudgetPermit, telemetry};

use super::PendingBatch;
use super::insert::NewKeys;
use crate::database::DbError;
use crate::ledger::Key;
use crate::metrics::{self, Cause};
use crate::record::{Record, RecordOutcome};
use crate::spans;
use crate::target::ResolvedTarget;

/// Batches of one target that are stored together.
#[derive(Debug)]
pub(super) struct CommitBatch {
    pub(super) target: Arc<ResolvedTarget>,
    records: Vec<BatchRecord>,
    batches: Vec<OpenReceipt>,
}

/// A record and the batch that it came in.
#[derive(Debug)]
pub(super) struct BatchRecord {
    batch: usize,
    pub(super) record: Record,
}

// While batches are merged, a record exists twice: as a part of its batch and as a `BatchRecord`.
const _: () = assert!(size_of::<Record>() + size_of::<BatchRecord>() <= MASKED_RECORD_BYTES);

/// The receipt of one batch, to be sent when all its records have an outcome.
#[derive(Debug)]
struct OpenReceipt {
    receipt: ReceiptBuilder,
    span: Span,
    reply: oneshot::Sender<Result<Receipt, Status>>,
    _memory: ByteBudgetPermit,
}

#[cfg(test)]
impl BatchRecord {
    pub(super) fn for_tests(record: Record) -> Self {
        Self { batch: 0, record }
    }
}

impl CommitBatch {
    /// All batches must have the same target; None without batches.
    pub(super) fn new(pending: Vec<PendingBatch>) -> Option<Self> {
        let target = Arc::clone(&pending.first()?.target);
        let mut merged = Self { target, records: Vec::new(), batches: Vec::new() };
        for (batch, PendingBatch { records, receipt, span, reply, memory, .. }) in
            pending.into_iter().enumerate()
        {
            merged.records.extend(records.into_iter().map(|record| BatchRecord { batch, record }));
            merged.batches.push(OpenReceipt { receipt, span, reply, _memory: memory });
        }
        Some(merged)
    }

    /// The spans of the batches that have records among `records`.
    pub(super) fn spans<'a>(
        &self,
        records: impl Iterator<Item = &'a BatchRecord>,
    ) -> impl Iterator<Item = &Span> {
        let batches: BTreeSet<usize> = records.map(|record| record.batch).collect();
        batches.into_iter().filter_map(|batch| self.batches.get(batch)).map(|batch| &batch.span)
    }

    pub(super) fn has_rejections(&self) -> bool {
        self.batches.iter().any(|batch| batch.receipt.has_rejections())
    }

    /// The values of one column that only Postgres can judge: each value once, with the indexes of its
    /// records.
    pub(super) fn unsure_values(&self, column: usize) -> BTreeMap<&str, Vec<usize>> {
        let mut values: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, BatchRecord { record, .. }) in self.records.iter().enumerate() {
            if let Some(value) = record.unsure_input(column) {
                values.entry(value).or_default().push(index);
            }
        }
        values
    }

    /// Settles records by their index and removes them from those to be stored.
    pub(super) fn settle_at(&mut self, mut outcomes: HashMap<usize, RecordOutcome>) {
        for (index, record) in std::mem::take(&mut self.records).into_iter().enumerate() {
            match outcomes.remove(&index) {
                Some(outcome) => self.settle(&record, outcome),
                None => self.records.push(record),
            }
        }
    }

    /// The records in the order of their keys, in rounds that have each key once: a second copy of a key is
    /// in the second round, and so on.
    pub(super) fn take_rounds(&mut self) -> Vec<Vec<BatchRecord>> {
        let mut records = std::mem::take(&mut self.records);
        // Records are much larger than their keys: with cached keys each record moves once.
        records.sort_by_cached_key(|record| record.record.key);
        if records.is_sorted_by(|one, next| one.record.key < next.record.key) {
            return if records.is_empty() { Vec::new() } else { vec![records] };
        }
        let mut rounds: Vec<Vec<BatchRecord>> = Vec::new();
        let mut last: Option<(Key, usize)> = None;
        for record in records {
            let key = record.record.key;
            let copy = last.filter(|(last, _)| *last == key).map_or(0, |(_, copy)| copy + 1);
            last = Some((key, copy));
            match rounds.get_mut(copy) {
                Some(round) => round.push(record),
                None => rounds.push(vec![record]),
            }
        }
        rounds
    }

    /// Settles records after their commit: those with new keys are stored, the others are duplicates.
    /// `now_ms` is the database's time.
    pub(super) fn settle_committed(&mut self, records: &[BatchRecord], new_keys: &NewKeys, now_ms: i64) {
        let end_to_end = metrics::end_to_end();
        for record in records {
            let stored = new_keys.contains(&record.record.key);
            if stored {
                let took = u64::try_from(now_ms - record.record.sent_ms).unwrap_or(0);
                end_to_end.record(Duration::from_millis(took));
            }
            self.settle(record, if stored { RecordOutcome::Stored } else { RecordOutcome::Duplicate });
        }
    }

    pub(super) fn reject(&mut self, records: &[BatchRecord], reason: Reason, error: &DbError) {
        let detail = match error {
            DbError::Server(error) => error.detail(),
            other => other.to_string(),
        };
        for record in records {
            self.settle(record, RecordOutcome::Rejected(reason, detail.clone()));
        }
    }

    /// Leaves records in the queue whose error may be theirs or the database's.
    pub(super) fn leave_undecided(&mut self, records: &[BatchRecord], error: &DbError) {
        for record in records {
            tracing::warn!(
                message_id = record.record.message_id(),
                error = error.to_string(),
                "only this record cannot be stored, and the cause is not certain; left in the queue"
            );
            metrics::left(Cause::Undecided);
            self.settle(record, RecordOutcome::Left);
        }
    }

    pub(super) fn leave_outside_window(&mut self, record: &BatchRecord) {
        tracing::warn!(
            message_id = record.record.message_id(),
            sent_timestamp_ms = record.record.sent_ms,
            "sent outside the ledger's window, so a duplicate could not be recognised; left in the queue"
        );
        metrics::left(Cause::OutsideWindow);
        self.settle(record, RecordOutcome::Left);
    }

    fn settle(&mut self, record: &BatchRecord, outcome: RecordOutcome) {
        if let Some(batch) = self.batches.get_mut(record.batch) {
            if let RecordOutcome::Rejected(reason, _) = outcome {
                telemetry::note_rejection(&batch.span, record.record.message_id(), reason.name());
            }
            outcome.write_to(&mut batch.receipt, record.record.position);
        }
    }

    /// Sends every stream its receipt. When a stream has ended, its records come again and are duplicates
    /// then.
    pub(super) fn reply(self) {
        for OpenReceipt { receipt, span, reply, .. } in self.batches {
            let receipt = receipt.finish();
            spans::answered(&span);
            metrics::receipt(&receipt);
            reply.send(Ok(receipt)).unwrap_or_default();
        }
    }

    /// Ends every stream. The ledger recognises the records that are committed already when they come again.
    pub(super) fn refuse(self, status: &Status) {
        for OpenReceipt { span, reply, .. } in self.batches {
            spans::refused(&span, status);
            reply.send(Err(status.clone())).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending_batch::fixtures::{pending, pending_with_ids, target};
    use super::*;
    use crate::catalogue::fixtures::column;
    use crate::catalogue::{ColumnKind, TableColumn};
    use proptest::prelude::*;
    use veilpost_proto::v1::Value;
    use veilpost_proto::v1::value::Kind;

    fn merged(message_ids: &[u8]) -> CommitBatch {
        CommitBatch::new(vec![pending_with_ids(message_ids).0]).unwrap()
    }

    proptest! {
        #[test]
        fn rounds_are_sorted_have_distinct_keys_and_lose_nothing(ids in proptest::collection::vec(0u8..10, 0..40)) {
            let rounds = merged(&ids).take_rounds();
            prop_assert_eq!(rounds.iter().map(Vec::len).sum::<usize>(), ids.len());
            for round in &rounds {
                prop_assert!(round.is_sorted_by(|one, next| one.record.key < next.record.key));
            }
            let mut sorted = ids;
            sorted.sort_unstable();
            let most = sorted.chunk_by(|one, next| one == next).map(<[u8]>::len).max().unwrap_or(0);
            prop_assert_eq!(rounds.len(), most);
        }
    }

    #[test]
    fn a_value_is_validated_once_however_many_records_have_it() {
        let number = TableColumn { kind: ColumnKind::Integer { least: 0, greatest: 99 }, ..column("a") };
        // Only with spaces around them must Postgres judge them.
        let records = [(1, " 7"), (2, " 8"), (3, " 7"), (4, "7")]
            .map(|(id, text)| (id, Value { kind: Some(Kind::Text(text.to_owned())) }));
        let batch = CommitBatch::new(vec![pending(&target(number), &records, 0).0]).unwrap();
        assert_eq!(batch.unsure_values(0), BTreeMap::from([(" 7", vec![0, 2]), (" 8", vec![1])]));
    }

    #[test]
    fn settled_records_are_not_stored() {
        let mut batch = merged(&[1, 2, 3]);
        batch.settle_at(HashMap::from([(1, RecordOutcome::Left)]));
        let rounds = batch.take_rounds().into_iter().flatten();
        let to_store: Vec<String> = rounds.map(|record| record.record.message_id().to_owned()).collect();
        assert_eq!(to_store.len(), 2);
        assert!(!to_store.contains(&"2".to_owned()));
    }
}
