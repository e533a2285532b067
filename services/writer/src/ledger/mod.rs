//! The ledger of messages already stored: keys, the ring of slots, upkeep.

mod key;
mod upkeep;
mod window;

pub(crate) use key::Key;
pub(crate) use upkeep::Upkeep;
pub(crate) use window::{accepts, leaves, slot_of};
