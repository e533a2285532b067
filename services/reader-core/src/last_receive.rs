//! What becomes of a delivery about which nothing was decided.

use std::fmt;

use tokio::sync::mpsc;
use tracing::Span;
use veilpost_proto::v1::RawRecord;

use crate::batcher::Arrival;
use crate::delivery::{Delivery, DeliveryNumber};

/// What a source says of a delivery about which nothing was decided.
#[derive(Debug)]
pub enum Undecided {
    /// The source delivers the message again: leave it there.
    ComesAgain,
    /// The source does not, and whoever decides did not know that. This record says so.
    SendAgain(RawRecord),
    /// The source does not, and whoever decides knew that: reject it with what is known.
    IsLost,
}

/// Decides about deliveries about which nothing was decided, for a source that delivers a message only so
/// often.
pub struct LastReceives<M> {
    judge: Box<Judge<M>>,
    /// Where deliveries go that are sent again. Weak, so that a link ends whose source has.
    arrivals: mpsc::WeakSender<Vec<Arrival>>,
}

type Judge<M> = dyn Fn(&Delivery<M>) -> Undecided + Send + Sync;

impl<M> LastReceives<M> {
    /// `judge` looks at a delivery in flight and must not use the table of deliveries; what is to be sent
    /// again goes through `arrivals` to the [`Batcher`](crate::Batcher), and needs room there for everything
    /// that can be in flight.
    pub fn new(
        arrivals: &mpsc::Sender<Vec<Arrival>>,
        judge: impl Fn(&Delivery<M>) -> Undecided + Send + Sync + 'static,
    ) -> Self {
        Self { judge: Box::new(judge), arrivals: arrivals.downgrade() }
    }

    /// What the source says of a delivery.
    pub fn judge(&self, delivery: &Delivery<M>) -> Undecided {
        (self.judge)(delivery)
    }

    /// Sends records again as suspects, so that they delay nothing else. Once the source has ended they stay
    /// in flight, to be released.
    pub async fn send_again(&self, records: Vec<(DeliveryNumber, RawRecord)>, span: &Span) {
        let Some(arrivals) = self.arrivals.upgrade().filter(|_| !records.is_empty()) else { return };
        let again = records.into_iter().map(|(number, record)| Arrival {
            number,
            record,
            suspect: true,
            receive: span.clone(),
        });
        if arrivals.send(again.collect()).await.is_err() {
            tracing::debug!("the link has ended; what was to be sent again is released");
        }
    }
}

/// Shows nothing of the messages.
impl<M> fmt::Debug for LastReceives<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LastReceives(..)")
    }
}
