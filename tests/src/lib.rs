//! The fault tests: a whole pipeline under load, broken in every way, and an oracle that accounts for every message.

pub mod faults;
