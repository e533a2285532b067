//! The jobs of one commit, merged: their records in rounds of distinct keys, their outcomes by job.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::Status;
use tracing::Span;
use veilpost_proto::frame::MASKED_RECORD_BYTES;
use veilpost_proto::v1::Receipt;
use veilpost_runtime::telemetry;

use super::Job;
use crate::catalogue::Target;
use crate::ledger::Key;
use crate::metrics;
use crate::record::{Fate, Record, Sheet};
use crate::spans;

#[derive(Debug)]
pub(super) struct Load {
    pub(super) target: Arc<Target>,
    entries: Vec<Entry>,
    batches: Vec<OpenBatch>,
}

/// A record and the job that it belongs to.
#[derive(Debug)]
pub(super) struct Entry {
    job: usize,
    pub(super) record: Record,
}

// For a moment a record is there twice, as a part of a job and as an entry.
const _: () = assert!(size_of::<Record>() + size_of::<Entry>() <= MASKED_RECORD_BYTES);

#[derive(Debug)]
struct OpenBatch {
    id: u64,
    sheet: Sheet,
    span: Span,
    reply: oneshot::Sender<Result<Receipt, Status>>,
    _share: OwnedSemaphorePermit,
}

#[cfg(test)]
impl Entry {
    pub(super) fn for_tests(record: Record) -> Self {
        Self { job: 0, record }
    }
}

impl Load {
    /// All jobs must have the same target; None without jobs.
    pub(super) fn new(jobs: Vec<Job>) -> Option<Self> {
        let target = Arc::clone(&jobs.first()?.target);
        let mut load = Self { target, entries: Vec::new(), batches: Vec::new() };
        for (index, job) in jobs.into_iter().enumerate() {
            load.entries.extend(job.records.into_iter().map(|record| Entry { job: index, record }));
            load.batches.push(OpenBatch {
                id: job.batch_id,
                sheet: job.sheet,
                span: job.span,
                reply: job.reply,
                _share: job.share,
            });
        }
        Some(load)
    }

    pub(super) fn settle(&mut self, entry: &Entry, fate: Fate) {
        if let Some(batch) = self.batches.get_mut(entry.job) {
            if let Fate::Rejected(reason, _) = fate {
                telemetry::note_rejection(&batch.span, entry.record.message_id(), reason.name());
            }
            batch.sheet.settle(entry.record.position, fate);
        }
    }

    /// The spans of the batches that have records among `entries`.
    pub(super) fn spans<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> impl Iterator<Item = &Span> {
        let jobs: BTreeSet<usize> = entries.map(|entry| entry.job).collect();
        jobs.into_iter().filter_map(|job| self.batches.get(job)).map(|batch| &batch.span)
    }

    pub(super) fn has_rejections(&self) -> bool {
        self.batches.iter().any(|batch| batch.sheet.has_rejections())
    }

    /// The unjudged values of one column, each once, with the places of their records among the entries.
    pub(super) fn unsure(&self, column: usize) -> BTreeMap<&str, Vec<usize>> {
        let mut values: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, Entry { record, .. }) in self.entries.iter().enumerate() {
            if let Some(value) = record.unsure_input(column) {
                values.entry(value).or_default().push(index);
            }
        }
        values
    }

    /// Settles entries by their place and takes them out of what is to be stored.
    pub(super) fn settle_at(&mut self, mut fates: HashMap<usize, Fate>) {
        for (index, entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            match fates.remove(&index) {
                Some(fate) => self.settle(&entry, fate),
                None => self.entries.push(entry),
            }
        }
    }

    /// The records in the order of their keys, as rounds in which each key is once: a second copy of a key belongs to
    /// the second round, and so on.
    pub(super) fn take_rounds(&mut self) -> Vec<Vec<Entry>> {
        let mut entries = std::mem::take(&mut self.entries);
        // Entries are much larger than their keys: each is to move once.
        entries.sort_by_cached_key(|entry| entry.record.key);
        if entries.is_sorted_by(|one, next| one.record.key < next.record.key) {
            return if entries.is_empty() { Vec::new() } else { vec![entries] };
        }
        let mut rounds: Vec<Vec<Entry>> = Vec::new();
        let mut last: Option<(Key, usize)> = None;
        for entry in entries {
            let copy = last.filter(|(key, _)| *key == entry.record.key).map_or(0, |(_, copy)| copy + 1);
            last = Some((entry.record.key, copy));
            match rounds.get_mut(copy) {
                Some(round) => round.push(entry),
                None => rounds.push(vec![entry]),
            }
        }
        rounds
    }

    /// Sends every stream its receipt. A stream that is gone has its records delivered again: they are duplicates then.
    pub(super) fn reply(self) {
        for OpenBatch { id, sheet, span, reply, .. } in self.batches {
            let receipt = sheet.into_receipt(id);
            spans::answered(&span);
            metrics::receipt(&receipt);
            reply.send(Ok(receipt)).unwrap_or_default();
        }
    }

    /// Ends every stream; what is committed already is recognised when it comes again.
    pub(super) fn refuse(self, status: &Status) {
        for batch in self.batches {
            spans::refused(&batch.span, status);
            batch.reply.send(Err(status.clone())).unwrap_or_default();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::catalogue::tests::{column, table};
    use crate::catalogue::{Column, Kind};
    use crate::record::prepare;
    use proptest::prelude::*;
    use tokio::sync::Semaphore;
    use veilpost_proto::v1::value::Kind as Given;
    use veilpost_proto::v1::{self, MaskedBatch, MaskedRecord, Value};

    /// A batch of records sent in 1970, and its answer.
    pub(in crate::commit) fn job(message_ids: &[u8]) -> (Job, oneshot::Receiver<Result<Receipt, Status>>) {
        let records: Vec<_> = message_ids.iter().map(|id| (*id, Value::default())).collect();
        job_of(&records, column("a"))
    }

    fn job_of(records: &[(u8, Value)], column: Column) -> (Job, oneshot::Receiver<Result<Receipt, Status>>) {
        let wanted = v1::Target { table: "logins".into(), columns: vec![column.name.clone()] };
        let target = Arc::new(Target::resolve(&table(vec![column]), &wanted).unwrap());
        let records = records.iter().map(|(id, value)| MaskedRecord {
            message_id: id.to_string(),
            sent_timestamp_ms: 0,
            values: vec![value.clone()],
        });
        let batch = MaskedBatch { records: MaskedBatch::encoded(records), ..MaskedBatch::default() };
        let (records, sheet) = prepare(batch, &target).unwrap();
        let share = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (reply, answer) = oneshot::channel();
        (Job { batch_id: 0, target, records, sheet, bytes: 0, span: Span::none(), reply, share }, answer)
    }

    fn load(message_ids: &[u8]) -> Load {
        Load::new(vec![job(message_ids).0]).unwrap()
    }

    proptest! {
        #[test]
        fn rounds_are_sorted_have_distinct_keys_and_lose_nothing(ids in proptest::collection::vec(0u8..10, 0..40)) {
            let rounds = load(&ids).take_rounds();
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
    fn values_are_judged_once_however_many_records_have_them() {
        let number = Column { kind: Kind::Integer { least: 0, greatest: 99 }, ..column("a") };
        // Only with space around them are they Postgres's to judge.
        let records = [(1, " 7"), (2, " 8"), (3, " 7"), (4, "7")]
            .map(|(id, text)| (id, Value { kind: Some(Given::Text(text.to_owned())) }));
        let load = Load::new(vec![job_of(&records, number).0]).unwrap();
        assert_eq!(load.unsure(0), BTreeMap::from([(" 7", vec![0, 2]), (" 8", vec![1])]));
    }

    #[test]
    fn settled_entries_are_not_stored() {
        let mut load = load(&[1, 2, 3]);
        load.settle_at(HashMap::from([(1, Fate::Left)]));
        let left: Vec<String> = load
            .take_rounds()
            .into_iter()
            .flatten()
            .map(|entry| entry.record.message_id().to_owned())
            .collect();
        assert_eq!(left.len(), 2);
        assert!(!left.contains(&"2".to_owned()));
    }
}
