//! Version 1 of the contract. `build.rs` generates it from `veilpost/v1/veilpost.proto`; the comments there
//! are the documentation.
//!
//! The contract evolves by addition only: a field number is never reused.

tonic::include_proto!("veilpost.v1");
