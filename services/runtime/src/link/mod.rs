//! The link to the service downstream: one stream to every address that its name resolves to, batches one way and
//! receipts the other, nothing forgotten when a stream breaks.

mod batch;
mod codec;
mod driver;
mod fleet;
mod hop;
mod parcel;
mod resolve;
mod settings;
mod shipment;
mod stream;

pub use batch::Batch;
pub use driver::run_link;
pub use hop::{Hop, ToMasker, ToWriter};
pub use parcel::{Parcel, Source};
pub use settings::LinkSettings;
