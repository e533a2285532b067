//! Veilpost's command line, and what its tests use of it: sample events, the embedded queue, a throw-away Postgres,
//! and the services as child processes.

pub mod events;
pub mod postgres;
pub mod process;
pub mod queue;
