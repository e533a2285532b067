//! A pipeline on this machine: a throw-away Postgres, the embedded queue, the services as child processes
//! with their logs and metrics, sample events, and certificates for trials.
//!
//! The demo, the other commands of `veilpost`, the tests and the benchmark use it. It is internal: nothing
//! outside of this workspace depends on it.

pub mod certificates;
pub mod events;
pub mod numbers;
pub mod output;
pub mod postgres;
pub mod process;
pub mod queue;
pub mod table;
