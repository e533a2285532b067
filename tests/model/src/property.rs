//! The properties by name: what must never happen, and what must be possible.

use stateright::Property;

use crate::database::{Node, Replication};
use crate::pipeline::Pipeline;
use crate::queue::Place;
use crate::state::State;

/// A message never has two rows.
pub const ONE_ROW: &str = "at most one row";
/// A message is deleted only when its row is on every node that may become the primary, or a copy is in the
/// dead-letter queue.
pub const DURABLE_WHEN_DELETED: &str = "deleted only when durable everywhere";
/// A message never has a row and a copy that a reader sent to the dead-letter queue.
pub const NEVER_BOTH: &str = "never stored and dead-lettered";
/// The queue never moves a message whose newest delivery a running reader has not decided.
pub const NOT_MOVED_WHILE_HELD: &str = "never moved by the queue while a reader holds it";
/// No slot of the ledger is emptied whose message can come again.
pub const SLOT_IS_PAST: &str = "no slot is emptied whose message can come again";
/// No message is left to the queue, which moves it in the end, because a clock is wrong.
pub const NOT_LEFT_BY_A_CLOCK: &str = "never left to the queue because of a wrong clock";

/// Everything that must never be broken.
pub const SAFETY: [&str; 6] =
    [ONE_ROW, DURABLE_WHEN_DELETED, NEVER_BOTH, NOT_MOVED_WHILE_HELD, SLOT_IS_PAST, NOT_LEFT_BY_A_CLOCK];

pub(crate) fn all() -> Vec<Property<Pipeline>> {
    vec![
        Property::always(ONE_ROW, |_, state: &State| {
            [state.primary, state.standby].iter().all(|node| node.rows <= 1)
        }),
        Property::always(DURABLE_WHEN_DELETED, |_, state: &State| {
            state.message.place != Place::Deleted
                || state.message.is_dead_lettered
                || may_become_primary(state).iter().all(|node| node.rows == 1)
        }),
        Property::always(NEVER_BOTH, |_, state: &State| {
            !state.message.is_dead_lettered || may_become_primary(state).iter().all(|node| node.rows == 0)
        }),
        Property::always(NOT_MOVED_WHILE_HELD, |_, state: &State| !state.moved_while_held),
        Property::always(SLOT_IS_PAST, |_, state: &State| !state.emptied_in_use),
        Property::always(NOT_LEFT_BY_A_CLOCK, |_, state: &State| !state.left_by_a_clock),
        Property::sometimes("a message is stored and deleted", |_, state: &State| is_deleted_with_row(state)),
        Property::sometimes("a message is dead-lettered and deleted", |_, state: &State| {
            state.message.place == Place::Deleted && state.message.is_dead_lettered
        }),
        Property::sometimes("a message is stored although its first reader died", |_, state: &State| {
            is_deleted_with_row(state) && state.message.receives > 1
        }),
        Property::sometimes("a message is stored although the standby was promoted", |_, state: &State| {
            is_deleted_with_row(state) && state.replication == Replication::Promoted
        }),
    ]
}

fn is_deleted_with_row(state: &State) -> bool {
    state.message.place == Place::Deleted && state.primary.rows == 1
}

/// The nodes that hold the truth, now or after a failover.
fn may_become_primary(state: &State) -> Vec<Node> {
    match state.replication {
        Replication::Promoted => vec![state.primary],
        Replication::Connected | Replication::Cut => vec![state.primary, state.standby],
    }
}
