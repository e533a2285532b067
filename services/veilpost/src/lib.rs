//! Veilpost's command line, and what its tests and benchmarks use of it: sample events, the embedded queue, a
//! throw-away Postgres, and the services as child processes.

pub mod certificates;
mod certificates_command;
mod cli;
mod dead_letters_command;
mod demo;
pub mod events;
pub mod numbers;
pub mod output;
pub mod postgres;
pub mod process;
pub mod queue;
mod queue_command;
mod send_command;

pub use cli::{Cli, run};
pub use demo::Executables;
