//! What every Veilpost reader needs, whatever it reads from.
//!
//! A reader receives messages, sends them to the masker in batches, and settles each message once the batch's
//! receipt has come. This crate holds everything in between that does not depend on the source:
//!
//! | step | what is here | what the source adds |
//! |---|---|---|
//! | receive | [`Window`] reserves room, [`AdaptiveConcurrency`] says how many calls to make, [`may_receive`] when to make none | the call |
//! | remember | [`InFlight`] holds every [`Delivery`] until it is settled | the message `M` |
//! | send | [`Batcher`] makes the batches that the runtime's link sends | nothing |
//! | settle | [`Settler`] makes [`CompletedDelivery`], [`RejectedDelivery`] and [`LeftDelivery`] of receipts | their calls |
//! | call | [`CallPool`] makes batched calls, [`pause_before_retry`] spaces the retries | one attempt |
//!
//! A message stays in flight until its source has forgotten it. Whatever is still in flight at the end of the
//! process is released, and comes again: at worst as a duplicate, never as a loss.
//!
//! ```
//! use std::sync::Arc;
//!
//! use tokio::sync::mpsc;
//! use tokio::time::Instant;
//! use tracing::Span;
//! use veilpost_proto::v1::{Outcome, RawRecord, Receipt};
//! use veilpost_reader_core::spans::Destination;
//! use veilpost_reader_core::{
//!     Arrival, BatchLimits, Batcher, Delivery, InFlight, KnownRejects, Settler, Window, WindowLimits,
//! };
//! use veilpost_runtime::{Lifecycle, OutgoingSource};
//!
//! /// What the reader of a log needs to settle a message.
//! struct LogEntry {
//!     offset: u64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let window = Window::new(WindowLimits {
//!     messages: 5000,
//!     bytes: 8 << 20,
//!     messages_per_receive: 500,
//!     largest_message_bytes: 1 << 20,
//! });
//! let in_flight = Arc::new(InFlight::default());
//! let (arrivals, arriving) = mpsc::channel(10);
//! let (pending, batches) = mpsc::channel(10);
//! let (completed, mut completing) = mpsc::channel(10);
//!
//! // Receive only what there is room for, and remember it.
//! let mut room = window.reserve().await;
//! let permit = room.permit(2);
//! let delivery = Delivery::new("orders-0-17".to_owned(), LogEntry { offset: 17 }, Instant::now(), permit);
//! let number = in_flight.insert(delivery);
//! let record =
//!     RawRecord { message_id: "orders-0-17".to_owned(), body: Some("{}".into()), ..RawRecord::default() };
//! arrivals.send(vec![Arrival { number, record, suspect: false, receive: Span::none() }]).await.unwrap();
//! drop(arrivals);
//!
//! // The link takes a batch whenever a stream can take one. Here the batch is answered at once.
//! let source = Destination { system: "log", name: "orders".to_owned() };
//! let limits = BatchLimits { records: 1000, bytes: 1 << 20 };
//! let mut batcher = Batcher::new("orders".to_owned(), source, limits, arriving, pending);
//! let outgoing = batcher.next().await.unwrap();
//! let stored = u8::try_from(i32::from(Outcome::Stored)).unwrap();
//! let receipt = Receipt { batch_id: 0, outcomes: vec![stored], rejections: Vec::new() };
//! outgoing.reply.send(receipt).unwrap();
//! assert!(batcher.next().await.is_none(), "nothing more arrives");
//! drop(batcher);
//!
//! // Settle: what is stored is passed on, and the source may forget it.
//! let settler = Settler {
//!     in_flight: Arc::clone(&in_flight),
//!     completed,
//!     rejected: None,
//!     left: None,
//!     known_rejects: Arc::new(KnownRejects::default()),
//!     last_receives: None,
//!     lifecycle: Lifecycle::for_tests(),
//! };
//! settler.run(batches).await;
//! let stored = completing.recv().await.unwrap();
//! let numbers: Vec<_> = stored.iter().map(|delivery| delivery.number).collect();
//! let offsets: Vec<_> = in_flight.remove(&numbers).iter().map(|delivery| delivery.message.offset).collect();
//! assert_eq!(offsets, [17]);
//! # }
//! ```

#![warn(missing_docs)]

mod actions;
mod batcher;
mod call_pool;
mod concurrency;
mod delivery;
mod in_flight;
mod known_rejects;
mod last_calls;
mod last_receive;
pub mod metrics;
mod receive_rule;
mod retry;
mod settlement;
mod settler;
pub mod spans;
mod window;

pub use actions::{CompletedDelivery, LeftDelivery, RejectedDelivery};
pub use batcher::{Arrival, BatchLimits, Batcher};
pub use call_pool::CallPool;
pub use concurrency::{AdaptiveConcurrency, CallYield};
pub use delivery::{Delivery, DeliveryNumber};
pub use in_flight::{InFlight, Received};
pub use known_rejects::KnownRejects;
pub use last_calls::{LAST_CALLS, last_calls_over};
pub use last_receive::{LastReceives, Undecided};
pub use receive_rule::may_receive;
pub use retry::pause_before_retry;
pub use settlement::{Rejection, Settlement, settlements};
pub use settler::{PendingReceipt, Settler};
pub use window::{Reservation, Window, WindowLimits, WindowPermit};
