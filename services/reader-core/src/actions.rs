//! What is to be done in the source with deliveries whose receipt has come.

use tracing::Span;

use crate::delivery::DeliveryNumber;
use crate::settlement::Rejection;

/// A delivery whose message the source may forget: its rows are durable, or a copy is where rejected messages
/// go.
#[derive(Clone, Debug)]
pub struct CompletedDelivery {
    /// Which delivery it is.
    pub number: DeliveryNumber,
    /// How many attempts to complete it have failed.
    pub failures: u32,
    /// The span of its batch.
    pub span: Span,
}

impl CompletedDelivery {
    /// A delivery that nobody has tried to complete yet.
    pub fn new(number: DeliveryNumber, span: Span) -> Self {
        Self { number, failures: 0, span }
    }

    /// The same delivery after one more failed attempt.
    #[must_use]
    pub fn failed(self) -> Self {
        Self { failures: self.failures.saturating_add(1), ..self }
    }
}

/// A delivery whose message can never be stored, and is to be copied to where rejected messages go.
#[derive(Clone, Debug)]
pub struct RejectedDelivery {
    /// Which delivery it is.
    pub number: DeliveryNumber,
    /// Why it was rejected.
    pub rejection: Rejection,
    /// The size of the message in bytes, for filling batches.
    pub bytes: usize,
    /// How many attempts to copy it have failed.
    pub failures: u32,
    /// The span of its batch.
    pub span: Span,
}

impl RejectedDelivery {
    /// The same delivery after one more failed attempt.
    #[must_use]
    pub fn failed(self) -> Self {
        Self { failures: self.failures.saturating_add(1), ..self }
    }
}

/// A delivery whose message is neither completed nor rejected: the source delivers it again.
#[derive(Clone, Debug)]
pub struct LeftDelivery {
    /// Which delivery it is.
    pub number: DeliveryNumber,
    /// How many attempts to leave it have failed.
    pub failures: u32,
    /// The span of its batch.
    pub span: Span,
}

impl LeftDelivery {
    /// A delivery that nobody has tried to leave yet.
    pub fn new(number: DeliveryNumber, span: Span) -> Self {
        Self { number, failures: 0, span }
    }

    /// The same delivery after one more failed attempt.
    #[must_use]
    pub fn failed(self) -> Self {
        Self { failures: self.failures.saturating_add(1), ..self }
    }
}
