//! Moving the messages of a dead-letter queue to where they came from, or to another queue.

use uuid::{Builder, Uuid};

use super::Millis;

/// The most messages that one step moves, so that other calls are served in between.
const STEP: u64 = 1_000;

/// What a caller asks for.
#[derive(Clone, Default)]
pub(in crate::queue) struct MoveRequest {
    pub(in crate::queue) source_arn: String,
    /// The queues that the messages came from, if it is not given.
    pub(in crate::queue) destination_arn: Option<String>,
    /// Messages a second; as fast as possible, if it is not given.
    pub(in crate::queue) rate: Option<u64>,
}

#[derive(Clone)]
pub(in crate::queue) struct MoveTask {
    pub(in crate::queue) id: Uuid,
    pub(in crate::queue) request: MoveRequest,
    /// Milliseconds since the Unix epoch.
    pub(in crate::queue) started: Millis,
    pub(in crate::queue) to_move: u64,
    pub(in crate::queue) moved: u64,
    pub(in crate::queue) status: MoveStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum MoveStatus {
    Running,
    Completed,
    Cancelled,
    /// With the reason.
    Failed(&'static str),
}

impl MoveTask {
    pub(super) fn new(request: MoveRequest, to_move: u64, now: Millis) -> Self {
        let id = Builder::from_random_bytes(rand::random()).into_uuid();
        Self { id, request, started: now, to_move, moved: 0, status: MoveStatus::Running }
    }

    pub(in crate::queue) fn is_running(&self) -> bool {
        self.status == MoveStatus::Running
    }

    /// How many messages it may move by now.
    pub(super) fn allowance(&self, now: Millis) -> u64 {
        let by_rate = self.request.rate.map_or(u64::MAX, |rate| {
            (rate.saturating_mul(now.saturating_sub(self.started)) / 1000).saturating_sub(self.moved)
        });
        by_rate.min(STEP).min(self.to_move - self.moved)
    }

    /// When it may move the next message.
    pub(super) fn next_due(&self, now: Millis) -> Option<Millis> {
        if !self.is_running() {
            return None;
        }
        let by_rate = |rate| self.started + (self.moved + 1).saturating_mul(1000).div_ceil(rate);
        Some(self.request.rate.map_or(now, by_rate))
    }
}

impl MoveStatus {
    pub(in crate::queue) fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
            Self::Failed(_) => "FAILED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(rate: Option<u64>) -> MoveTask {
        MoveTask::new(MoveRequest { rate, ..MoveRequest::default() }, 5_000, 1_000)
    }

    #[test]
    fn a_rate_spaces_the_moves_and_no_rate_does_not() {
        let mut slow = task(Some(3));
        assert_eq!((slow.allowance(1_000), slow.next_due(1_000)), (0, Some(1_334)));
        assert_eq!(slow.allowance(2_000), 3);
        slow.moved = 3;
        assert_eq!((slow.allowance(2_000), slow.next_due(2_000)), (0, Some(2_334)));
        assert_eq!((task(None).allowance(1_000), task(None).next_due(1_000)), (STEP, Some(1_000)));
    }

    #[test]
    fn no_more_is_moved_than_there_was_at_the_start() {
        let mut task = task(None);
        task.moved = 4_990;
        assert_eq!(task.allowance(1_000), 10);
    }
}
