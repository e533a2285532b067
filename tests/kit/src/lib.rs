//! What tests of several crates share: proxies that make a connection or a call fail, a whole pipeline of real service
//! binaries, a trace collector, and certificates. It is never a part of the product.

mod binaries;
mod collector;
mod fault_proxy;
mod frames;
mod messages;
mod pki;
mod sqs_proxy;
mod stack;
mod tls_proxy;
mod wait;

pub use binaries::binary;
pub use collector::{Collector, Received};
pub use fault_proxy::{Cut, FaultProxy};
pub use frames::{Frame, say};
pub use messages::{DeadLetter, login};
pub use pki::{Pki, TlsFiles};
pub use sqs_proxy::{Armed, BODILESS, SqsFault, SqsFaultProxy};
pub use stack::Stack;
pub use tls_proxy::TlsProxy;
pub use wait::eventually;
