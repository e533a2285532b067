//! One batch of one stream on its way to the database.

use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::Status;
use tracing::Span;
use veilpost_proto::ReceiptBuilder;
use veilpost_proto::v1::Receipt;
use veilpost_runtime::ByteBudgetPermit;

use crate::record::{Claim, Record};
use crate::target::ResolvedTarget;

/// A converted batch that waits for its commit. When it is dropped, its stream ends with an error.
#[derive(Debug)]
pub(crate) struct PendingBatch {
    pub(crate) target: Arc<ResolvedTarget>,
    pub(crate) records: Vec<Record>,
    /// The records that are rejected already.
    pub(crate) claims: Vec<Claim>,
    pub(crate) receipt: ReceiptBuilder,
    /// Its encoded size.
    pub(crate) bytes: usize,
    /// Covers the work on the batch from its arrival until its receipt.
    pub(crate) span: Span,
    pub(crate) reply: oneshot::Sender<Result<Receipt, Status>>,
    /// Its part of the memory that all batches without a receipt may take.
    pub(crate) memory: ByteBudgetPermit,
}

impl PendingBatch {
    /// How many rows its records have; a record without rows counts too, because its key is stored.
    pub(super) fn rows(&self) -> usize {
        self.records.iter().map(|record| record.rows().max(1)).sum()
    }
}

#[cfg(test)]
pub(in crate::commit) mod fixtures {
    //! Pending batches for the tests of this room.

    use super::*;
    use crate::catalogue::TableColumn;
    use crate::catalogue::fixtures::{column, table};
    use crate::record::{PreparedBatch, prepare};
    use futures_util::FutureExt;
    use veilpost_proto::v1::{self, MaskedBatch, MaskedRecord, Value};
    use veilpost_runtime::ByteBudget;

    pub(in crate::commit) type Answer = oneshot::Receiver<Result<Receipt, Status>>;

    /// A target with one column.
    pub(in crate::commit) fn target(column: TableColumn) -> Arc<ResolvedTarget> {
        let columns = vec![column.name.clone()];
        let wanted = v1::Target { table: "logins".into(), columns, ..v1::Target::default() };
        Arc::new(ResolvedTarget::resolve(&table(vec![column]), &wanted).unwrap())
    }

    /// A batch of records sent in 1970 with these message ids and values, and its answer.
    pub(in crate::commit) fn pending(
        target: &Arc<ResolvedTarget>,
        records: &[(u8, Value)],
        bytes: usize,
    ) -> (PendingBatch, Answer) {
        let records = records.iter().map(|(id, value)| MaskedRecord {
            message_id: id.to_string(),
            sent_timestamp_ms: 0,
            values: vec![value.clone()],
            ..MaskedRecord::default()
        });
        let batch = MaskedBatch { records: MaskedBatch::encoded(records), ..MaskedBatch::default() };
        let PreparedBatch { records, claims, receipt } = prepare(batch, target).unwrap();
        let memory = ByteBudget::new(1).acquire(1).now_or_never().unwrap();
        let (reply, answer) = oneshot::channel();
        let target = Arc::clone(target);
        (PendingBatch { target, records, claims, receipt, bytes, span: Span::none(), reply, memory }, answer)
    }

    /// A batch of NULLs in one column, and its answer.
    pub(in crate::commit) fn pending_with_ids(message_ids: &[u8]) -> (PendingBatch, Answer) {
        let records: Vec<_> = message_ids.iter().map(|id| (*id, Value::default())).collect();
        pending(&target(column("a")), &records, 0)
    }
}
