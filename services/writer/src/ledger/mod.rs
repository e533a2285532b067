//! The ledger of messages already stored: keys, the ring of slots, upkeep.

mod clocks;
mod entry;
mod key;
mod mark;
mod upkeep;
mod window;

pub(crate) use clocks::SentTimes;
pub use clocks::{ClockReadings, WindowDecision, decide_by_window};
pub use entry::{Fate, LedgerEntry, Purpose, fate};
pub(crate) use key::Key;
pub(crate) use mark::{SentKey, claim, marks};
pub(crate) use upkeep::Upkeep;
pub(crate) use window::leaves;
pub use window::{idle_slot, slot_of};
