//! Veilpost's masker: applies the policy to raw records and passes on masked ones.

mod answer;
mod batch;
mod body;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grpc;
mod mask;
mod metrics;
#[cfg(test)]
mod naive_mask;
mod policy;
mod service;
mod settings;
mod transform;

pub use body::pointer::Pointer;
pub use mask::rejection::Rejected;
pub use mask::{Mask, Masked};
pub use policy::check::check;
pub use policy::model::{Column, FieldRule, KeyName, MessageRule, Policy, Transform, UnknownRecord};
pub use service::serve;
pub use settings::{Invocation, PolicySettings, Settings};
pub use transform::hmac_keys::HmacKeys;
pub use transform::hmac_sha512::sha512;
