//! The fault harness: breaks a whole pipeline on purpose, by a schedule that a seed replays, and accounts for every
//! message at the end.

mod backlog;
mod command;
mod database;
mod dice;
mod fault;
mod lanes;
mod load;
mod mix;
mod oracle;
mod output;
mod replica;
mod round;
mod schedule;
mod small_disk;
mod summary;
mod tally;
mod world;

pub use command::Arguments;
