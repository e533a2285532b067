//! A model of how one message travels, small enough to check every state that it can reach.
//!
//! One message, two readers, two writers, a primary and its synchronous standby. Everything that may go
//! wrong between them is an action: a receive that expires, an extension that is denied, a crash, a
//! cancelled wait, a promotion, a wrong clock, a column that becomes narrow, a delete that is lost.
//! [`Rules`] are the rules by which readers and writers decide. The checker visits every reachable state
//! and holds the properties against it.
//!
//! ```
//! use stateright::{Checker, Model};
//! use veilpost_model::{Pipeline, Rules};
//!
//! let checked = Pipeline::new(Rules::all()).checker().spawn_bfs().join();
//! checked.assert_properties();
//! ```

mod action;
mod clocks;
mod database;
mod pipeline;
pub mod property;
mod queue;
mod rules;
mod state;

pub use action::Action;
pub use clocks::Clocks;
pub use database::{Key, Node, Replication};
pub use pipeline::Pipeline;
pub use queue::{MAX_RECEIVES, Place, QueuedMessage};
pub use rules::Rules;
pub use state::{Outcome, Phase, Reader, ReaderId, State, Writer, WriterId};
