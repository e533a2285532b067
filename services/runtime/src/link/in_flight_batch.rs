//! A batch on its way, and how the receipts of its parts become the one that its sender waits for.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use veilpost_proto::v1::{Receipt, Rejection};

use super::{Batch, Parcel};

/// A parcel, or one record of a parcel that is sent alone.
#[derive(Debug)]
pub(super) struct Shipment<B> {
    pub(super) id: u64,
    pub(super) batch: Arc<B>,
    /// Whether its records are under suspicion from the start.
    pub(super) suspect: bool,
    /// Whether it is one record that shares its stream with nothing.
    pub(super) alone: bool,
    /// How often a stream broke while this was on it.
    pub(super) breaks: u32,
    /// The position of its first record in the parcel.
    offset: usize,
    answer: Arc<Mutex<Answer>>,
}

/// A receipt does not fit the batch that it names.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a receipt with {got} outcomes for a batch of {expected} records")]
pub(super) struct Misfit {
    expected: usize,
    got: usize,
}

impl<B: Batch> Shipment<B> {
    /// Gives the parcel's batch its id and makes it ready to be sent.
    pub(super) fn new(parcel: Parcel<B>, id: u64) -> Self {
        let Parcel { mut batch, reply, suspect } = parcel;
        batch.set_id(id);
        batch.set_suspect(suspect);
        let answer = Answer::new(batch.records(), reply);
        let answer = Arc::new(Mutex::new(answer));
        Self { id, batch: Arc::new(batch), suspect, alone: false, breaks: 0, offset: 0, answer }
    }

    pub(super) fn records(&self) -> usize {
        self.batch.records()
    }

    /// Passes the outcomes on.
    pub(super) fn receipted(&self, receipt: Receipt) -> Result<(), Misfit> {
        let (expected, got) = (self.records(), receipt.outcomes.len());
        if expected != got {
            return Err(Misfit { expected, got });
        }
        self.answer().take(self.offset, receipt);
        Ok(())
    }

    /// Gives up on the records: their outcome says to leave the messages in the queue.
    pub(super) fn leave(&self) {
        let outcomes = vec![0; self.records()];
        self.answer().take(self.offset, Receipt { outcomes, ..Receipt::default() });
    }

    /// Each record as a shipment that is sent alone; `next_id` gives their batch ids.
    pub(super) fn singles(&self, mut next_id: impl FnMut() -> u64) -> Vec<Self> {
        (0..self.records())
            .map(|index| {
                let id = next_id();
                let mut batch = self.batch.single(index);
                batch.set_id(id);
                batch.set_suspect(true);
                let (offset, answer) = (self.offset + index, Arc::clone(&self.answer));
                let breaks = self.breaks;
                Self { id, batch: Arc::new(batch), suspect: true, alone: true, breaks, offset, answer }
            })
            .collect()
    }

    fn answer(&self) -> std::sync::MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receipt of a whole parcel while it is being put together.
#[derive(Debug)]
struct Answer {
    receipt: Receipt,
    missing: usize,
    reply: Option<oneshot::Sender<Receipt>>,
}

impl Answer {
    fn new(records: usize, reply: oneshot::Sender<Receipt>) -> Self {
        let receipt = Receipt { outcomes: vec![0; records], ..Receipt::default() };
        Self { receipt, missing: records, reply: Some(reply) }
    }

    /// Takes the outcomes of the records from `offset` on, and replies once none is missing.
    fn take(&mut self, offset: usize, part: Receipt) {
        self.missing = self.missing.saturating_sub(part.outcomes.len());
        for (slot, outcome) in self.receipt.outcomes.iter_mut().skip(offset).zip(part.outcomes) {
            *slot = outcome;
        }
        let shift = u32::try_from(offset).unwrap_or(u32::MAX);
        let shifted =
            |rejection: Rejection| Rejection { index: rejection.index.saturating_add(shift), ..rejection };
        self.receipt.rejections.extend(part.rejections.into_iter().map(shifted));
        if self.missing == 0
            && let Some(reply) = self.reply.take()
        {
            // The sender may be gone when the service aborts; then nobody needs the receipt.
            let _unneeded = reply.send(std::mem::take(&mut self.receipt));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilpost_proto::v1::{RawBatch, RawRecord};

    fn parcel(records: usize) -> (Parcel<RawBatch>, oneshot::Receiver<Receipt>) {
        let (reply, receipt) = oneshot::channel();
        let record = |index: usize| RawRecord { message_id: format!("m{index}"), ..RawRecord::default() };
        let batch = RawBatch { records: (0..records).map(record).collect(), ..RawBatch::default() };
        (Parcel { batch, reply, suspect: false }, receipt)
    }

    fn receipt(outcomes: &[u8], rejected: &[u32]) -> Receipt {
        let rejections =
            rejected.iter().map(|index| Rejection { index: *index, ..Rejection::default() }).collect();
        Receipt { batch_id: 0, outcomes: outcomes.to_vec(), rejections }
    }

    #[test]
    fn a_receipt_of_another_length_is_an_error_and_answers_nothing() {
        let (parcel, mut reply) = parcel(2);
        let shipment = Shipment::new(parcel, 1);
        assert_eq!(shipment.receipted(receipt(&[1], &[])), Err(Misfit { expected: 2, got: 1 }));
        assert!(reply.try_recv().is_err());
    }

    #[test]
    fn receipts_of_singles_come_together_by_position() {
        let (parcel, mut reply) = parcel(3);
        let whole = Shipment::new(parcel, 1);
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
