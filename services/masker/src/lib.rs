//! Veilpost's masker: applies the policy to raw records and passes on masked ones.

mod body;
mod digest;
mod keys;
mod mask;
mod personal;
mod pointer;
mod policy;
mod policy_file;
mod rejected;
mod strict;
mod version;

pub use keys::HmacKeys;
pub use mask::{Mask, Masked};
pub use pointer::Pointer;
pub use policy::{Column, FieldRule, KeyName, MessageRule, Policy, Transform, UnknownRecord};
pub use rejected::Rejected;
