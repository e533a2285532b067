//! A whole pipeline for tests: the real service binaries, a throw-away Postgres, the embedded queue, and the means to
//! break them.

mod binaries;
mod collector;
pub mod faults;
mod frames;
mod gate;
mod messages;
mod pki;
mod sqs_gate;
mod stack;
mod tls_gate;
mod wait;

pub use binaries::binary;
pub use collector::{Collector, Received};
pub use frames::{Frame, say};
pub use gate::{Cut, Gate};
pub use messages::{DeadLetter, login};
pub use pki::{Pki, TlsFiles};
pub use sqs_gate::{Armed, BODILESS, SqsFault, SqsGate};
pub use stack::Stack;
pub use tls_gate::TlsGate;
pub use wait::eventually;
