//! Veilpost's command line: the demo, a producer of sample events, the embedded queue, trial certificates and
//! a look at dead letters.

mod certificates_command;
mod cli;
mod dead_letters_command;
mod demo;
mod policy_command;
mod progress;
mod queue_command;
mod send_command;

pub use cli::{Cli, run};
