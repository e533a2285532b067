//! The queues of one account as a state machine: no I/O, and no clock but the `now` that callers pass.

mod account;
mod digest;
mod error;
mod handle;
mod message;
mod move_task;
#[cfg(test)]
mod naive;
mod queue;
mod settings;

pub(super) use account::{Account, arn_of};
pub(super) use digest::{hex, md5_of_attributes};
pub(super) use error::{Code, SqsError};
pub(super) use handle::ReceiptHandle;
pub(super) use message::{Attribute, AttributeValue, Content, Delivery};
pub(super) use move_task::{MoveRequest, MoveStatus, MoveTask};
pub(super) use settings::MAX_VISIBILITY_TIMEOUT;

/// Milliseconds since the Unix epoch.
pub(super) type Millis = u64;

/// The region that the embedded queue's ARNs name.
pub const REGION: &str = "us-east-1";

/// The account that ARNs and URLs name.
pub(super) const ACCOUNT: &str = "000000000000";
