//! What can go wrong between the reader and SQS, in one clear line each.

use std::error::Error;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

/// Why a call to SQS failed. Its text names what to check. It never repeats the answer of SQS, which may
/// quote receipt handles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SqsError {
    #[error("the queue does not exist; check its name, the region and the account")]
    NoSuchQueue,
    #[error(
        "no usable AWS credentials; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile or the role"
    )]
    NoCredentials,
    #[error("access denied; the reader's role needs {0} on the queue, and no policy may deny it")]
    Denied(String),
    #[error("SQS refuses the credentials ({0}); check them, and the permissions on the queue")]
    Refused(String),
    #[error("cannot reach the endpoint ({0}); check AWS_ENDPOINT_URL, the region and the network")]
    Unreachable(String),
    #[error("no answer in time; check AWS_ENDPOINT_URL and the network")]
    Timeout,
    #[error("the answer is not one of SQS's; check AWS_ENDPOINT_URL")]
    NotSqs,
    #[error("SQS answers {0}")]
    Code(String),
}

impl SqsError {
    /// `permission` is what the call needs, such as `sqs:ReceiveMessage`.
    pub(crate) fn from_sdk<E, R>(error: &SdkError<E, R>, permission: &str) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug,
    {
        match error {
            SdkError::TimeoutError(_) => Self::Timeout,
            SdkError::ServiceError(service) => {
                service.err().code().map_or(Self::NotSqs, |code| Self::from_code(code, permission))
            }
            SdkError::ResponseError(_) => Self::NotSqs,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Timeout,
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => from_chain(error.source()),
            _ => Self::Unreachable("unknown failure".to_owned()),
        }
    }

    pub(crate) fn from_code(code: &str, permission: &str) -> Self {
        match bare(code) {
            "NonExistentQueue" | "QueueDoesNotExist" | "QueueDeletedRecently" => Self::NoSuchQueue,
            "AccessDenied" | "AccessDeniedException" => Self::Denied(permission.to_owned()),
            code @ ("InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidAccessKeyId"
            | "InvalidSecurity"
            | "MissingAuthenticationToken"
            | "OptInRequired"
            | "IncompleteSignature"
            | "KmsAccessDenied") => Self::Refused(code.to_owned()),
            code => Self::Code(code.to_owned()),
        }
    }

    /// The kind of error, as a span's `error.type`.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::NoSuchQueue => "no_such_queue",
            Self::NoCredentials => "no_credentials",
            Self::Denied(_) => "access_denied",
            Self::Refused(code) | Self::Code(code) => code,
            Self::Unreachable(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::NotSqs => "not_sqs",
        }
    }

    /// Whether whoever calls may not do so, or is not known.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Refused(_) | Self::NoCredentials)
    }

    /// Whether SQS refuses the message itself, so that sending it again cannot help.
    pub(crate) fn blames_message(&self) -> bool {
        let Self::Code(code) = self else { return false };
        matches!(
            bare(code),
            "InvalidMessageContents" | "InvalidParameterValue" | "InvalidAttributeValue" | "MessageTooLong"
        )
    }
}

/// The code without the prefix that SQS's older protocols put before it.
fn bare(code: &str) -> &str {
    code.rsplit(['.', '#']).next().unwrap_or(code)
}

/// A call that got no answer has no code, only a chain of causes.
fn from_chain(first: Option<&(dyn Error + 'static)>) -> SqsError {
    let chain = || std::iter::successors(first, |error| (*error).source());
    if chain().any(|error| error.to_string().contains("credential")) {
        return SqsError::NoCredentials;
    }
    SqsError::Unreachable(chain().last().map_or_else(|| "no cause given".to_owned(), ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_under_every_protocols_name() {
        for code in ["AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist"] {
            assert_eq!(SqsError::from_code(code, ""), SqsError::NoSuchQueue);
        }
        assert_eq!(
            SqsError::from_code("InvalidClientTokenId", ""),
            SqsError::Refused("InvalidClientTokenId".to_owned())
        );
        assert_eq!(
            SqsError::from_code("RequestThrottled", ""),
            SqsError::Code("RequestThrottled".to_owned())
        );
    }

    #[test]
    fn only_codes_about_the_message_blame_the_message() {
        assert!(SqsError::Code("InvalidMessageContents".to_owned()).blames_message());
        assert!(!SqsError::Code("RequestThrottled".to_owned()).blames_message());
        assert!(!SqsError::Refused("AccessDenied".to_owned()).blames_message());
    }
}
