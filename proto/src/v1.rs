//! Version 1 of the contract, generated from `veilpost/v1/veilpost.proto` by `generate/run`; the comments
//! there are the documentation.
//!
//! The contract evolves by addition only: a field number is never reused.

include!("veilpost.v1.rs");
