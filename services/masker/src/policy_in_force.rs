//! The policy that records are masked by, with the way to the writers that fits it.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tonic::Status;
use veilpost_proto::v1::MaskedBatch;
use veilpost_runtime::{Acceptance, Lifecycle, Outgoing};

use crate::mask::Mask;
use crate::metrics;

/// A policy, ready to be applied, and the link whose streams are opened with its table and columns. A batch
/// is masked and sent by one of these from beginning to end.
#[derive(Debug)]
pub(crate) struct PolicyInForce {
    pub(crate) mask: Mask,
    pub(crate) link: mpsc::Sender<Outgoing<MaskedBatch>>,
    /// Whether the writers accept the table and columns.
    pub(crate) acceptance: watch::Receiver<Acceptance>,
}

impl PolicyInForce {
    /// The status of calls while the writers refuse the table or a column; `None` while they do not.
    pub(crate) fn refusal(&self) -> Option<Status> {
        match &*self.acceptance.borrow() {
            Acceptance::Refused(reason) => Some(refused(reason)),
            Acceptance::Unknown | Acceptance::Accepted => None,
        }
    }

    /// Resolves once the writers refuse the table or a column. Cancel safe.
    pub(crate) async fn refused(&self) -> Status {
        let mut acceptance = self.acceptance.clone();
        let is_refused = |acceptance: &Acceptance| matches!(acceptance, Acceptance::Refused(_));
        if acceptance.wait_for(is_refused).await.is_ok()
            && let Some(refusal) = self.refusal()
        {
            return refusal;
        }
        // The link has ended, so the service has too; or a writer has accepted again at once.
        std::future::pending().await
    }
}

/// The reason names tables and columns, never a value.
fn refused(reason: &str) -> Status {
    Status::failed_precondition(format!("no writer accepts this masker's table and columns: {reason}"))
}

/// Resolves once the writers refuse what the policy in force sends, whichever it is by then. Cancel safe.
pub(crate) async fn refused_in_force(mut current: watch::Receiver<Arc<PolicyInForce>>) -> Status {
    loop {
        let policy = Arc::clone(&current.borrow_and_update());
        tokio::select! {
            refusal = policy.refused() => return refusal,
            changed = current.changed() => if changed.is_err() {
                return policy.refused().await;
            },
        }
    }
}

/// Keeps the service ready while a writer accepts what the policy in force sends. Before a writer has
/// answered, the service is not ready; writers that are away later change nothing.
pub(crate) async fn keep_ready(
    mut current: watch::Receiver<Arc<PolicyInForce>>,
    life: Lifecycle,
) -> anyhow::Result<()> {
    while !life.is_draining() {
        let policy = Arc::clone(&current.borrow_and_update());
        let mut acceptance = policy.acceptance.clone();
        let (is_accepted, is_refused) = {
            let found = acceptance.borrow_and_update();
            (*found == Acceptance::Accepted, matches!(*found, Acceptance::Refused(_)))
        };
        life.set_ready(is_accepted);
        metrics::show_target_refused(is_refused);
        tokio::select! {
            Ok(()) = acceptance.changed() => {}
            Ok(()) = current.changed() => {}
            () = life.draining() => {}
        }
    }
    Ok(())
}
