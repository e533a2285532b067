//! The errors of SQS that the embedded queue answers with.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>

/// An error of SQS: its code, and a text for people that holds no body and no value of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::queue) struct SqsError {
    pub(in crate::queue) code: Code,
    pub(in crate::queue) message: String,
}

/// A code of SQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Code {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InvalidAddress,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    ResourceNotFound,
    Serialization,
    TooManyEntriesInBatchRequest,
    UnsupportedOperation,
}

impl SqsError {
    pub(in crate::queue) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(in crate::queue) fn no_queue() -> Self {
        Self::new(Code::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// A number that is outside of what `parameter` may be.
    pub(in crate::queue) fn out_of_range(parameter: &str, value: i64, least: i64, most: i64) -> Self {
        let text = format!(
            "Value {value} for parameter {parameter} is invalid. Reason: Must be between {least} and {most}."
        );
        Self::new(Code::InvalidParameterValue, text)
    }
}

impl Code {
    /// The name of the error's shape, which `__type` has.
    pub(in crate::queue) fn shape(self) -> &'static str {
        match self {
            Self::BatchEntryIdsNotDistinct => "BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong => "BatchRequestTooLong",
            Self::EmptyBatchRequest => "EmptyBatchRequest",
            Self::InvalidAddress => "InvalidAddress",
            Self::InvalidAttributeName => "InvalidAttributeName",
            Self::InvalidAttributeValue => "InvalidAttributeValue",
            Self::InvalidBatchEntryId => "InvalidBatchEntryId",
            Self::InvalidMessageContents => "InvalidMessageContents",
            Self::InvalidParameterValue => "InvalidParameterValueException",
            Self::MessageNotInflight => "MessageNotInflight",
            Self::MissingParameter => "MissingParameterException",
            Self::OverLimit => "OverLimit",
            Self::PurgeQueueInProgress => "PurgeQueueInProgress",
            Self::QueueDeletedRecently => "QueueDeletedRecently",
            Self::QueueDoesNotExist => "QueueDoesNotExist",
            Self::QueueNameExists => "QueueNameExists",
            Self::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Serialization => "SerializationException",
            Self::TooManyEntriesInBatchRequest => "TooManyEntriesInBatchRequest",
            Self::UnsupportedOperation => "UnsupportedOperation",
        }
    }

    /// The code of SQS's older protocol, by which SDKs recognise the error.
    pub(in crate::queue) fn query_code(self) -> String {
        match self {
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
            Self::QueueNameExists => "QueueAlreadyExists".to_owned(),
            Self::InvalidParameterValue => "InvalidParameterValue".to_owned(),
            Self::MissingParameter => "MissingParameter".to_owned(),
            Self::BatchEntryIdsNotDistinct
            | Self::BatchRequestTooLong
            | Self::EmptyBatchRequest
            | Self::InvalidBatchEntryId
            | Self::MessageNotInflight
            | Self::PurgeQueueInProgress
            | Self::QueueDeletedRecently
            | Self::TooManyEntriesInBatchRequest
            | Self::UnsupportedOperation => format!("AWS.SimpleQueueService.{}", self.shape()),
            _ => self.shape().to_owned(),
        }
    }

    /// The code in a failed entry of a batch.
    pub(in crate::queue) fn entry_code(self) -> String {
        let code = self.query_code();
        code.rsplit('.').next().unwrap_or_default().to_owned()
    }

    /// The HTTP status.
    pub(in crate::queue) fn status(self) -> u16 {
        match self {
            Self::OverLimit | Self::PurgeQueueInProgress => 403,
            Self::InvalidAddress | Self::ResourceNotFound => 404,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdks_find_the_codes_that_they_know() {
        let query = |code: Code| code.query_code();
        assert_eq!(query(Code::QueueDoesNotExist), "AWS.SimpleQueueService.NonExistentQueue");
        assert_eq!(query(Code::QueueNameExists), "QueueAlreadyExists");
        assert_eq!(query(Code::MessageNotInflight), "AWS.SimpleQueueService.MessageNotInflight");
        assert_eq!(query(Code::ReceiptHandleIsInvalid), "ReceiptHandleIsInvalid");
        assert_eq!(Code::MessageNotInflight.entry_code(), "MessageNotInflight");
    }
}
