//! Veilpost's masker: applies the policy to raw records and passes masked ones on to the writers.
//!
//! A [`Policy`] says which field of a message's JSON body becomes which column of the table, and by which
//! transform. Together with the [`HmacKeys`] it becomes a [`Mask`], which turns one raw record into a masked
//! record, or rejects it with a reason:
//!
//! ```
//! use veilpost_masker::{HmacKeys, Mask, Policy};
//! use veilpost_proto::v1::value::Kind;
//! use veilpost_proto::v1::{RawRecord, Reason};
//!
//! let policy = r#"
//!     table = "logins"
//!
//!     [[column]]
//!     name = "user_id"
//!     source = "/user/id"
//!     transform = "copy"
//!
//!     [[column]]
//!     name = "masked_ip"
//!     source = "/ip"
//!     transform = "sha512"
//! "#;
//! let policy = Policy::parse(policy, "logins.toml")?;
//! let mask = Mask::new(&policy, &HmacKeys::default())?;
//!
//! let record = |body: &'static str| RawRecord { body: Some(body.into()), ..RawRecord::default() };
//! let now = jiff::Timestamp::now();
//!
//! let masked = mask.apply(&record(r#"{"user":{"id":"u1"},"ip":"203.0.113.7"}"#), now)?;
//! let values = masked.record.values;
//! assert_eq!(values[0].kind, Some(Kind::Text("u1".to_owned())));
//! assert!(matches!(&values[1].kind, Some(Kind::Text(digest)) if digest.len() == 128));
//!
//! let rejected = mask.apply(&record("not json"), now).err().unwrap();
//! assert_eq!(rejected.reason, Reason::NotJson);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A record takes this way: `grpc` receives its batch, `batch` has every record masked and sends the writers
//! what can be stored, `mask` applies the policy to one record, `body` finds the fields in its JSON,
//! `normalize` gives equal things one spelling, and a file in `transform` makes the value. `policy` reads the
//! file that says so.

mod batch;
mod body;
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grpc;
mod mask;
mod metrics;
mod normalize;
mod policy;
mod policy_in_force;
mod policy_reload;
mod service;
mod settings;
mod spans;
mod transform;
mod trial;

pub use mask::{Mask, Masked, Rejected};
pub use policy::Policy;
pub use service::{run, serve};
pub use settings::{PolicySettings, Settings};
pub use transform::HmacKeys;
pub use trial::{Trial, TriedColumn, TriedMessage};
