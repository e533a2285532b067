//! A batch on its way, and how the receipts of its parts become the one that its sender waits for.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use veilpost_proto::v1::{Outcome, Receipt};
use veilpost_proto::{ReceiptBuilder, ReceiptLengthMismatch};

use super::batch::LinkBatch;
use super::outgoing::Outgoing;

/// How many times the time for a receipt doubles when it does not come.
pub(super) const MAX_DOUBLINGS: u32 = 4;

/// A whole outgoing batch, or one record of it that is sent alone.
#[derive(Debug)]
pub(super) struct InFlightBatch<B> {
    pub(super) id: u64,
    pub(super) batch: Arc<B>,
    /// Whether its records are under suspicion from the start.
    pub(super) suspect: bool,
    /// Whether it is one record that shares its stream with nothing.
    pub(super) alone: bool,
    /// How many streams broke while this was on them.
    pub(super) breaks: u32,
    /// How often time has passed since it was sent.
    pub(super) ticks: u32,
    /// How often its receipt did not come in time.
    pub(super) delays: u32,
    /// The place in the order in which batches were sent, over all streams; 0 while it has not been sent.
    pub(super) sent_as: u64,
    /// When the receipt must be there; `None` while it waits to be sent.
    pub(super) deadline: Option<Instant>,
    /// The position of its first record in the outgoing batch.
    offset: usize,
    reply: Arc<Mutex<PendingReply>>,
}

impl<B: LinkBatch> InFlightBatch<B> {
    /// Gives the batch its id and makes it ready to be sent.
    pub(super) fn new(outgoing: Outgoing<B>, id: u64) -> Self {
        let Outgoing { mut batch, reply, suspect } = outgoing;
        batch.set_id(id);
        batch.set_suspect(suspect);
        let reply = Arc::new(Mutex::new(PendingReply::new(batch.records(), reply)));
        Self {
            id,
            batch: Arc::new(batch),
            suspect,
            alone: false,
            breaks: 0,
            ticks: 0,
            delays: 0,
            sent_as: 0,
            deadline: None,
            offset: 0,
            reply,
        }
    }

    pub(super) fn records(&self) -> usize {
        self.batch.records()
    }

    /// Sets the deadline of its receipt. After each delay it gets twice as long.
    pub(super) fn start_waiting(&mut self, now: Instant, receipt_timeout: Duration) {
        self.deadline = now.checked_add(receipt_timeout.saturating_mul(1 << self.delays.min(MAX_DOUBLINGS)));
    }

    /// Passes the outcomes on to the sender.
    ///
    /// # Errors
    ///
    /// When the receipt does not have one outcome per record; then nothing changes.
    pub(super) fn receipted(&self, receipt: Receipt) -> Result<(), ReceiptLengthMismatch> {
        self.reply.lock().take(self.offset, self.records(), receipt)
    }

    /// Whether nobody waits for its receipt any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.lock().sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Gives up on the records: their outcome leaves the messages in the source.
    pub(super) fn leave(&self) {
        let outcomes = vec![Outcome::Unspecified.byte(); self.records()];
        let left = self.receipted(Receipt { outcomes, ..Receipt::default() });
        debug_assert!(left.is_ok(), "there is one outcome per record");
    }

    /// Each record as a batch that is sent alone; `next_id` gives their ids.
    pub(super) fn singles(&self, mut next_id: impl FnMut() -> u64) -> Vec<Self> {
        (0..self.records())
            .map(|index| {
                let id = next_id();
                let mut batch = self.batch.single(index);
                batch.set_id(id);
                batch.set_suspect(true);
                let (offset, reply) = (self.offset + index, Arc::clone(&self.reply));
                let (breaks, delays) = (self.breaks, self.delays);
                Self {
                    id,
                    batch: Arc::new(batch),
                    suspect: true,
                    alone: true,
                    breaks,
                    ticks: 0,
                    delays,
                    sent_as: 0,
                    deadline: None,
                    offset,
                    reply,
                }
            })
            .collect()
    }
}

/// The receipt of a whole outgoing batch while it is being put together.
#[derive(Debug)]
struct PendingReply {
    receipt: ReceiptBuilder,
    /// Records that have no outcome yet.
    missing: usize,
    sender: Option<oneshot::Sender<Receipt>>,
}

impl PendingReply {
    fn new(records: usize, sender: oneshot::Sender<Receipt>) -> Self {
        // The receipt's channel says which batch it is for, so its id does not matter.
        Self { receipt: ReceiptBuilder::new(0, records), missing: records, sender: Some(sender) }
    }

    /// Takes the outcomes of `records` records from `offset` on, and replies once none is missing.
    fn take(&mut self, offset: usize, records: usize, part: Receipt) -> Result<(), ReceiptLengthMismatch> {
        self.receipt.merge_range(offset..offset + records, part)?;
        self.missing = self.missing.saturating_sub(records);
        if self.missing == 0
            && let Some(sender) = self.sender.take()
        {
            let receipt = mem::replace(&mut self.receipt, ReceiptBuilder::new(0, 0));
            // The sender may be gone when the service aborts; then nobody needs the receipt.
            let _unneeded = sender.send(receipt.finish());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilpost_proto::v1::{RawBatch, RawRecord, Rejection};

    fn outgoing(records: usize) -> (Outgoing<RawBatch>, oneshot::Receiver<Receipt>) {
        let (reply, receipt) = oneshot::channel();
        let record = |index: usize| RawRecord { message_id: format!("m{index}"), ..RawRecord::default() };
        let batch = RawBatch { records: (0..records).map(record).collect(), ..RawBatch::default() };
        (Outgoing { batch, reply, suspect: false }, receipt)
    }

    fn receipt(outcomes: &[u8], rejected: &[u32]) -> Receipt {
        let rejections =
            rejected.iter().map(|index| Rejection { index: *index, ..Rejection::default() }).collect();
        Receipt { batch_id: 0, outcomes: outcomes.to_vec(), rejections }
    }

    #[test]
    fn a_receipt_of_another_length_is_an_error_and_answers_nothing() {
        let (outgoing, mut reply) = outgoing(2);
        let in_flight = InFlightBatch::new(outgoing, 1);
        let mismatch = ReceiptLengthMismatch { expected: 2, got: 1 };
        assert_eq!(in_flight.receipted(receipt(&[1], &[])), Err(mismatch));
        assert!(reply.try_recv().is_err());
    }

    #[test]
    fn receipts_of_singles_come_together_by_position() {
        let (outgoing, mut reply) = outgoing(3);
        let whole = InFlightBatch::new(outgoing, 1);
        let mut id = 1;
        let singles = whole.singles(|| {
            id += 1;
            id
        });
        assert_eq!(singles.iter().map(|single| single.batch.id).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(singles[2].batch.message_id(0), "m2");
        singles[2].receipted(receipt(&[3], &[0])).unwrap();
        singles[0].receipted(receipt(&[1], &[])).unwrap();
        assert!(reply.try_recv().is_err(), "one record has no outcome yet");
        singles[1].leave();
        assert_eq!(reply.try_recv().unwrap(), receipt(&[1, 0, 3], &[2]));
    }
}
