//! What goes wrong between Veilpost and Amazon SQS, in words that say what to do.
//!
//! The reader and the operator's command line call SQS; both explain its errors with [`SqsError`].
//!
//! ```
//! use veilpost_sqs::{Call, SqsError};
//!
//! let answer = SqsError::from_code("KMS.DisabledException", "", Call::Receive);
//! assert!(answer.to_string().contains("is disabled"));
//! ```

#![warn(missing_docs)]

mod call;
mod endpoint;
mod error;
mod kms;

pub use call::Call;
pub use endpoint::{has_wrong_port, is_plain_and_remote, region_of};
pub use error::SqsError;
pub use kms::KmsProblem;
