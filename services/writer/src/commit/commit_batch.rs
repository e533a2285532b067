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
use crate::database::DbError;
use crate::ledger::{Fate, Key, LedgerEntry, Purpose, fate};
use crate::metrics::{self, Cause};
use crate::record::{Claim, Record, RecordOutcome};
use crate::spans;
use crate::target::ResolvedTarget;

/// What is known of a record that is outside of the ledger's window.
const OUTSIDE_WINDOW: &str = "sent outside the ledger's window";

/// What is known of a record of which nothing more is known.
const NOT_DECIDED: &str = "it could not be decided in time";

/// Batches of one target that are stored together. Each is answered as soon as all its records have an
/// outcome.
#[derive(Debug)]
pub(super) struct CommitBatch {
    pub(super) target: Arc<ResolvedTarget>,
    records: Vec<BatchRecord>,
    /// Rejected records whose keys are still to be claimed.
    claims: Vec<BatchClaim>,
    batches: Vec<OpenReceipt>,
}

/// A record and the batch that it came in.
#[derive(Debug)]
pub(super) struct BatchRecord {
    batch: usize,
    pub(super) record: Record,
}

/// A rejected record and the batch that it came in.
#[derive(Debug)]
pub(super) struct BatchClaim {
    batch: usize,
    pub(super) claim: Claim,
}

// While batches are merged, a record exists twice: as a part of its batch and as a `BatchRecord`.
const _: () = assert!(size_of::<Record>() + size_of::<BatchRecord>() <= MASKED_RECORD_BYTES);

/// The receipt of one batch, to be sent when all its records have an outcome.
#[derive(Debug)]
struct OpenReceipt {
    /// How many records have no outcome yet.
    missing: usize,
    span: Span,
    /// None once the batch is answered.
    open: Option<Unanswered>,
}

#[derive(Debug)]
struct Unanswered {
    receipt: ReceiptBuilder,
    reply: oneshot::Sender<Result<Receipt, Status>>,
    /// The batch's encoded size.
    bytes: usize,
    _memory: ByteBudgetPermit,
}

impl BatchRecord {
    /// Its place in the order in which the records of a commit batch arrived.
    pub(super) fn arrival(&self) -> (usize, usize) {
        (self.batch, self.record.position)
    }

    #[cfg(test)]
    pub(super) fn for_tests(record: Record) -> Self {
        Self { batch: 0, record }
    }
}

impl CommitBatch {
    /// All batches must have the same target; None without batches.
    pub(super) fn new(pending: Vec<PendingBatch>) -> Option<Self> {
        let target = Arc::clone(&pending.first()?.target);
        let mut merged = Self { target, records: Vec::new(), claims: Vec::new(), batches: Vec::new() };
        for (batch, pending) in pending.into_iter().enumerate() {
            let PendingBatch { records, claims, receipt, bytes, span, reply, memory, .. } = pending;
            let missing = records.len() + claims.len();
            merged.records.extend(records.into_iter().map(|record| BatchRecord { batch, record }));
            merged.claims.extend(claims.into_iter().map(|claim| BatchClaim { batch, claim }));
            let mut open = OpenReceipt {
                missing,
                span,
                open: Some(Unanswered { receipt, reply, bytes, _memory: memory }),
            };
            open.answer_if_complete();
            merged.batches.push(open);
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

    /// Whether any record has been rejected by the table's definition.
    pub(super) fn has_rejections(&self) -> bool {
        self.claims.iter().any(|claim| claim.claim.by_definition)
    }

    /// The values of one column that only Postgres can judge: each value once, with the indexes of its
    /// records.
    pub(super) fn unsure_values(&self, column: usize) -> BTreeMap<&str, Vec<usize>> {
        let mut values: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, BatchRecord { record, .. }) in self.records.iter().enumerate() {
            for value in record.unsure_inputs(column) {
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

    /// Settles records after their commit, by what the ledger had for their keys. `now_ms` is the database's
    /// time.
    pub(super) fn settle_committed(&mut self, records: &[BatchRecord], found: &LedgerEntries, now_ms: i64) {
        let end_to_end = metrics::end_to_end();
        for record in records {
            let outcome = match fate(Purpose::Store, found.of(&record.record.key)) {
                Fate::Stored => {
                    let took = u64::try_from(now_ms - record.record.sent_ms).unwrap_or(0);
                    end_to_end.record(Duration::from_millis(took));
                    RecordOutcome::Stored
                }
                Fate::Duplicate => RecordOutcome::Duplicate,
                Fate::Rejected => {
                    RecordOutcome::Rejected(found.reason(&record.record.key), "rejected before".to_owned())
                }
            };
            self.answer(record.batch, record.record.position, || Some(record.record.message_id()), outcome);
        }
    }

    /// The rejected records so far, sorted by their keys.
    pub(super) fn take_claims(&mut self) -> Vec<BatchClaim> {
        let mut claims = std::mem::take(&mut self.claims);
        claims.sort_by_key(|claim| claim.claim.key);
        claims
    }

    /// Keeps a rejected record whose key cannot be claimed now.
    pub(super) fn hold_claim(&mut self, claim: BatchClaim) {
        self.claims.push(claim);
    }

    /// The rejected records whose keys are still to be claimed.
    pub(super) fn held_claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().map(|claim| &claim.claim)
    }

    /// Lets go of the rejected records whose senders no longer wait.
    pub(super) fn drop_abandoned_claims(&mut self) {
        let mut claims = std::mem::take(&mut self.claims);
        claims.retain(|claim| self.is_waited_for(claim.batch));
        self.claims = claims;
    }

    /// Settles rejected records, by what the ledger had for their keys.
    pub(super) fn settle_claims(&mut self, claims: Vec<BatchClaim>, found: &LedgerEntries) {
        for BatchClaim { batch, claim } in claims {
            let outcome = match fate(Purpose::Reject, found.of(&claim.key)) {
                Fate::Stored | Fate::Duplicate => RecordOutcome::Duplicate,
                Fate::Rejected => RecordOutcome::Rejected(claim.reason, claim.detail),
            };
            let noted = || claim.by_definition.then_some(claim.message_id.as_str());
            self.answer(batch, claim.position, noted, outcome);
        }
    }

    /// Without its key in the ledger, a rejection could meet a stored message. So the message is left, unless
    /// it will not come again.
    pub(super) fn settle_outside_window(&mut self, claim: BatchClaim) {
        let BatchClaim { batch, claim } = claim;
        let outcome = if claim.last_receive {
            RecordOutcome::Rejected(claim.reason, claim.detail)
        } else {
            warn_of_window(&claim.message_id, claim.sent_ms);
            RecordOutcome::Undecided(OUTSIDE_WINDOW.to_owned())
        };
        let noted = || claim.by_definition.then_some(claim.message_id.as_str());
        self.answer(batch, claim.position, noted, outcome);
    }

    /// Rejects records for an error of the target table.
    pub(super) fn reject(&mut self, records: &[BatchRecord], reason: Reason, error: &DbError) {
        let detail = match error {
            DbError::Server(error) => error.violation_detail(),
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
                last_receive = record.record.last_receive,
                "only this record cannot be stored, and the cause is not certain; left in the queue, or \
                 rejected when it will not come again"
            );
            self.settle(record, RecordOutcome::Undecided(error.undecided_detail()));
        }
    }

    /// It cannot be claimed either.
    pub(super) fn leave_outside_window(&mut self, record: &BatchRecord) {
        let claim = Claim::of(&record.record, Reason::Undecided, OUTSIDE_WINDOW.to_owned());
        self.settle_outside_window(BatchClaim { batch: record.batch, claim });
    }

    /// Settles a record that is not stored. A rejection waits for its key, and so does what is undecided when
    /// the message will not come again.
    fn settle(&mut self, record: &BatchRecord, outcome: RecordOutcome) {
        let last_receive = record.record.last_receive;
        let (reason, detail) = match outcome {
            RecordOutcome::Rejected(reason, detail) => (reason, detail),
            RecordOutcome::Undecided(detail) if last_receive => (Reason::Undecided, detail),
            RecordOutcome::Left if last_receive => (Reason::Undecided, NOT_DECIDED.to_owned()),
            other => {
                if let RecordOutcome::Undecided(_) = other {
                    metrics::left(Cause::Undecided);
                }
                return self.answer(
                    record.batch,
                    record.record.position,
                    || Some(record.record.message_id()),
                    other,
                );
            }
        };
        let claim = Claim::of(&record.record, reason, detail);
        self.claims.push(BatchClaim { batch: record.batch, claim });
    }

    /// `message_id` is asked for a rejection only, since finding it reads the whole record. Without one, the
    /// rejection is not noted on the batch's span: the masker has noted it on its own.
    fn answer<'a>(
        &mut self,
        batch: usize,
        position: usize,
        message_id: impl FnOnce() -> Option<&'a str>,
        outcome: RecordOutcome,
    ) {
        if let Some(batch) = self.batches.get_mut(batch) {
            batch.settle(position, message_id, outcome);
        }
    }

    /// Whether the sender of a record's batch no longer waits for its receipt: the record comes again.
    pub(super) fn is_abandoned(&self, record: &BatchRecord) -> bool {
        !self.is_waited_for(record.batch)
    }

    fn is_waited_for(&self, batch: usize) -> bool {
        let open = self.batches.get(batch).and_then(|batch| batch.open.as_ref());
        open.is_some_and(|open| !open.reply.is_closed())
    }

    /// The encoded bytes of all batches without a receipt.
    pub(super) fn unanswered_bytes(&self) -> usize {
        self.batches.iter().filter_map(|batch| batch.open.as_ref()).map(|open| open.bytes).sum()
    }

    /// Ends every stream that still waits. The ledger recognises the records that are committed already when
    /// they come again.
    pub(super) fn refuse(self, status: &Status) {
        for OpenReceipt { span, open, .. } in self.batches {
            if let Some(open) = open {
                spans::refused(&span, status);
                open.reply.send(Err(status.clone())).unwrap_or_default();
            }
        }
    }
}

fn warn_of_window(message_id: &str, sent_timestamp_ms: i64) {
    tracing::warn!(
        message_id,
        sent_timestamp_ms,
        "sent outside the ledger's window, so a duplicate could not be recognised; left in the queue"
    );
    metrics::left(Cause::OutsideWindow);
}

impl OpenReceipt {
    fn settle<'a>(
        &mut self,
        position: usize,
        message_id: impl FnOnce() -> Option<&'a str>,
        outcome: RecordOutcome,
    ) {
        let Some(open) = &mut self.open else { return };
        if let RecordOutcome::Rejected(reason, _) = &outcome
            && let Some(message_id) = message_id()
        {
            telemetry::note_rejection(&self.span, message_id, reason.name());
        }
        outcome.write_to(&mut open.receipt, position);
        self.missing = self.missing.saturating_sub(1);
        self.answer_if_complete();
    }

    /// Sends the receipt, and gives the memory back. When the stream has ended, its records come again and
    /// are duplicates then.
    fn answer_if_complete(&mut self) {
        if self.missing == 0
            && let Some(Unanswered { receipt, reply, .. }) = self.open.take()
        {
            let receipt = receipt.finish();
            spans::answered(&self.span);
            metrics::receipt(&receipt);
            reply.send(Ok(receipt)).unwrap_or_default();
        }
    }
}

/// What the ledger had for the keys of a statement.
#[derive(Debug, Default)]
pub(super) struct LedgerEntries {
    /// None: every key was new.
    pub(super) new: Option<BTreeSet<Key>>,
    /// The marked ones among the keys that were known.
    pub(super) marked: HashMap<Key, Reason>,
}

impl LedgerEntries {
    fn of(&self, key: &Key) -> LedgerEntry {
        if self.new.as_ref().is_none_or(|new| new.contains(key)) {
            LedgerEntry::New
        } else if self.marked.contains_key(key) {
            LedgerEntry::Rejected
        } else {
            LedgerEntry::Stored
        }
    }

    fn reason(&self, key: &Key) -> Reason {
        self.marked.get(key).copied().unwrap_or_default()
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

    #[test]
    fn a_batch_is_answered_as_soon_as_its_own_records_have_outcomes() {
        let ((one, mut of_one), (other, mut of_other)) = (pending_with_ids(&[1, 2]), pending_with_ids(&[3]));
        let (empty, mut of_empty) = pending_with_ids(&[]);
        let mut batch = CommitBatch::new(vec![one, other, empty]).unwrap();
        assert_eq!(of_empty.try_recv().unwrap().unwrap().outcomes, [0_u8; 0]);
        let records = batch.take_rounds().remove(0);
        let is_first = |record: &&BatchRecord| record.batch == 0;
        let (first, second): (Vec<_>, Vec<_>) = records.iter().partition(is_first);
        batch.settle(second[0], RecordOutcome::Duplicate);
        assert_eq!(of_other.try_recv().unwrap().unwrap().outcomes, [2]);
        batch.settle(first[0], RecordOutcome::Stored);
        assert!(of_one.try_recv().is_err(), "one record has no outcome yet");
        assert!(!batch.is_abandoned(first[1]) && batch.is_abandoned(second[0]));
        batch.settle(first[1], RecordOutcome::Undecided("SQLSTATE U0001".to_owned()));
        let receipt = of_one.try_recv().unwrap().unwrap();
        assert_eq!(receipt.rejections[0].reason(), Reason::Undecided);
        let mut outcomes = receipt.outcomes;
        outcomes.sort_unstable();
        assert_eq!(outcomes, [0, 1]);
    }

    #[test]
    fn what_is_undecided_on_its_last_receive_is_rejected_once_its_key_is_claimed() {
        let (pending, mut answer) = pending_with_ids(&[1, 2]);
        let mut batch = CommitBatch::new(vec![pending]).unwrap();
        let mut records = batch.take_rounds().remove(0);
        for (record, outcome) in
            records.iter_mut().zip([RecordOutcome::Left, RecordOutcome::Undecided("x".into())])
        {
            record.record.last_receive = true;
            batch.settle(record, outcome);
        }
        assert!(answer.try_recv().is_err());
        let claims = batch.take_claims();
        assert!(claims.iter().all(|claim| claim.claim.reason == Reason::Undecided));
        let known = claims[0].claim.key;
        let new = claims[1..].iter().map(|claim| claim.claim.key).collect();
        batch.settle_claims(claims, &LedgerEntries { new: Some(new), ..LedgerEntries::default() });
        let receipt = answer.try_recv().unwrap().unwrap();
        let duplicate = records.iter().find(|record| record.record.key == known).unwrap();
        let mut expected = [3, 3];
        expected[duplicate.record.position] = 2;
        assert_eq!(receipt.outcomes, expected, "what is stored is not rejected");
    }

    #[test]
    fn a_key_that_was_rejected_before_is_rejected_again_for_the_same_reason() {
        let (pending, mut answer) = pending_with_ids(&[1]);
        let mut batch = CommitBatch::new(vec![pending]).unwrap();
        let records = batch.take_rounds().remove(0);
        let marked = HashMap::from([(records[0].record.key, Reason::TextTooLong)]);
        batch.settle_committed(&records, &LedgerEntries { new: Some(BTreeSet::new()), marked }, 0);
        let receipt = answer.try_recv().unwrap().unwrap();
        assert_eq!((receipt.outcomes, receipt.rejections[0].reason()), (vec![3], Reason::TextTooLong));
    }
}
