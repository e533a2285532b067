//! What is measured, one comparison a file.

pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod ledger;
pub(crate) mod masker;
pub(crate) mod memory;
mod peers;
pub(crate) mod pipeline;
pub(crate) mod start;
pub(crate) mod stream;
pub(crate) mod today;
pub(crate) mod writer;
