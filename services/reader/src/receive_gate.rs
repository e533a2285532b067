//! Whether messages may be received: not while those in flight cannot be kept hidden.

use tokio::sync::watch;
use tokio::time::Instant;
use veilpost_reader_core::may_receive;
use veilpost_runtime::telemetry::OutageLog;

use crate::metrics::RECEIVING_STOPPED;

/// What is known of the extensions of visibility timeouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// The last call to extend has failed.
    pub(crate) fail: bool,
    /// When the first message in flight should have been extended at the latest.
    pub(crate) first_overdue: Option<Instant>,
}

impl Extensions {
    fn permit(self) -> bool {
        may_receive(self.fail, self.first_overdue, Instant::now())
    }
}

/// The pollers' view of the extensions.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveGate(watch::Receiver<Extensions>);

/// The heartbeat's side: it keeps the gate up to date.
#[derive(Debug)]
pub(crate) struct GateKeeper {
    extensions: watch::Sender<Extensions>,
    queue: String,
    outage: OutageLog,
}

/// An open gate, and who keeps it. `queue` names the queue in log lines.
pub(crate) fn receive_gate(queue: &str) -> (GateKeeper, ReceiveGate) {
    let (extensions, gate) = watch::channel(Extensions::default());
    (GateKeeper { extensions, queue: queue.to_owned(), outage: OutageLog::new() }, ReceiveGate(gate))
}

impl GateKeeper {
    /// Takes over what is known of the extensions, and says when receiving stops and goes on.
    pub(crate) fn update(&self, extensions: Extensions) {
        self.extensions.send_replace(extensions);
        let queue = &self.queue;
        let is_open = extensions.permit();
        metrics::gauge!(RECEIVING_STOPPED).set(if is_open { 0.0 } else { 1.0 });
        if is_open {
            if self.outage.note_success() {
                tracing::info!(queue, "messages can be kept hidden again: receiving goes on");
            }
        } else if self.outage.note_failure("receiving stops") {
            tracing::warn!(
                queue,
                "messages in flight cannot be kept hidden: nothing is received until they can, because SQS would \
                 count receives of what is in flight and move it to the dead-letter queue"
            );
        }
    }
}

impl ReceiveGate {
    pub(crate) fn is_open(&self) -> bool {
        self.0.borrow().permit()
    }

    /// Waits until the gate is open; for ever once the heartbeat has ended, as it does after the drain.
    /// Cancel safe.
    pub(crate) async fn opened(&self) {
        let mut extensions = self.0.clone();
        while !extensions.borrow_and_update().permit() {
            if extensions.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_open_gate_closes_by_itself_when_an_extension_is_overdue() {
        let (keeper, gate) = receive_gate("q");
        let overdue = Instant::now() + Duration::from_secs(1);
        keeper.update(Extensions { fail: false, first_overdue: Some(overdue) });
        assert!(gate.is_open());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!gate.is_open() && gate.opened().now_or_never().is_none());
        keeper.update(Extensions::default());
        gate.opened().await;
    }

    #[tokio::test]
    async fn who_waits_at_the_gate_is_let_in_when_extensions_succeed_again() {
        let (keeper, gate) = receive_gate("q");
        keeper.update(Extensions { fail: true, first_overdue: None });
        let mut waiting = Box::pin(gate.opened());
        assert!(waiting.as_mut().now_or_never().is_none());
        keeper.update(Extensions::default());
        waiting.await;
    }
}
