//! Veilpost's masker: applies the policy to raw records and passes on masked ones.

mod answer;
mod batch;
mod body;
mod check;
mod digest;
mod keys;
mod mask;
mod measure;
mod personal;
mod pointer;
mod policy;
mod policy_file;
#[cfg(test)]
mod reference;
mod rejected;
mod service;
mod settings;
mod shares;
mod streams;
mod strict;
#[cfg(any(test, fuzzing))]
pub mod untrusted;
mod version;

pub use check::check;
pub use digest::sha512;
pub use keys::HmacKeys;
pub use mask::{Mask, Masked};
pub use pointer::Pointer;
pub use policy::{Column, FieldRule, KeyName, MessageRule, Policy, Transform, UnknownRecord};
pub use rejected::Rejected;
pub use service::serve;
pub use settings::{Invocation, PolicySettings, Settings};
