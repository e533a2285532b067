//! A whole pipeline for tests: the real service binaries, a throw-away Postgres, the embedded queue, and the means to
//! break them.

mod binaries;
mod collector;
mod gate;
mod messages;
mod sqs_gate;
mod stack;
mod wait;

pub use binaries::binary;
pub use collector::{Collector, Received};
pub use gate::Gate;
pub use messages::{DeadLetter, login};
pub use sqs_gate::SqsGate;
pub use stack::Stack;
pub use wait::eventually;
