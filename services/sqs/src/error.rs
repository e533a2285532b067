//! What can go wrong in a call to SQS, in one clear line each.

use std::error::Error;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::call::Call;
use crate::kms::{KmsProblem, key_in};

/// Why a call to SQS failed. Its text names what to check. It never repeats the answer of SQS, which may
/// quote receipt handles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqsError {
    /// There is no such queue.
    #[error(
        "the queue does not exist; check its name, the region (AWS_REGION) and the account (a queue of another \
         account is found by its URL only)"
    )]
    NoSuchQueue,
    /// The queue's URL belongs elsewhere.
    #[error(
        "the queue's URL is not one of this endpoint; check the region in it, AWS_REGION and AWS_ENDPOINT_URL"
    )]
    WrongAddress,
    /// No credentials were found, or they cannot be renewed.
    #[error(
        "no usable AWS credentials; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile (AWS_PROFILE), \
         the role, or log in again (aws sso login)"
    )]
    NoCredentials,
    /// Nothing says where SQS is.
    #[error("no AWS region is known; set AWS_REGION")]
    NoRegion,
    /// The credentials were good once.
    #[error(
        "the AWS credentials have expired ({0}); renew AWS_SESSION_TOKEN, or log in again (aws sso login)"
    )]
    Expired(String),
    /// The credentials are not known.
    #[error(
        "SQS refuses the credentials ({0}); check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN, the region and the account"
    )]
    Refused(String),
    /// The secret does not fit the key, or something on the way changes calls.
    #[error(
        "SQS refuses the signature ({0}); check AWS_SECRET_ACCESS_KEY, AWS_REGION, and this machine's clock; a proxy \
         must not change calls"
    )]
    BadSignature(String),
    /// The clocks differ by minutes.
    #[error("this machine's clock differs from that of AWS by minutes ({0}); set it, for example by NTP")]
    ClockSkew(String),
    /// Whoever calls may not do this.
    #[error("access denied: the role or user needs {0} on the queue, and no policy may deny it")]
    Denied(&'static str),
    /// The queue's key cannot be used.
    #[error(
        "the KMS key {} {}; the role or user needs {needs} on it",
        .key.as_deref().unwrap_or("of the queue (its KmsMasterKeyId)"),
        .problem.text()
    )]
    Kms {
        /// What is wrong with it.
        problem: KmsProblem,
        /// Its id or ARN, where it is known.
        key: Option<String>,
        /// The permissions that the call needs.
        needs: &'static str,
    },
    /// SQS wants TLS.
    #[error("SQS wants https ({0}): change http:// in AWS_ENDPOINT_URL to https://")]
    NeedsHttps(String),
    /// There was no connection.
    #[error("cannot reach the endpoint ({0}); check AWS_ENDPOINT_URL, the region and the network{1}")]
    Unreachable(String, String),
    /// There was no answer.
    #[error("no answer in time; check AWS_ENDPOINT_URL and the network{0}")]
    Timeout(String),
    /// Somebody else has answered.
    #[error("the answer is not one of SQS's; check AWS_ENDPOINT_URL{0}")]
    NotSqs(String),
    /// Any other answer of SQS: its code.
    #[error("SQS answers {0}")]
    Code(String),
}

impl SqsError {
    /// The error of a call through the AWS SDK.
    pub fn from_sdk<E, R>(error: &SdkError<E, R>, call: Call) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug,
    {
        match error {
            SdkError::TimeoutError(_) => Self::Timeout(proxy()),
            SdkError::ServiceError(service) => match service.err().code() {
                Some(code) => Self::from_code(code, service.err().message().unwrap_or_default(), call),
                None => Self::NotSqs(proxy()),
            },
            SdkError::ResponseError(_) => Self::NotSqs(proxy()),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Timeout(proxy()),
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => from_chain(error.source()),
            _ => Self::Unreachable("unknown failure".to_owned(), proxy()),
        }
    }

    /// The error with this code of SQS. Of its `message` only what is known to be harmless is looked at.
    pub fn from_code(code: &str, message: &str, call: Call) -> Self {
        let needs = call.key_permissions();
        if let Some(problem) = KmsProblem::from_code(code) {
            return Self::Kms { problem, key: key_in(message), needs };
        }
        match bare(code) {
            "NonExistentQueue" | "QueueDoesNotExist" | "QueueDeletedRecently" => Self::NoSuchQueue,
            "InvalidAddress" => Self::WrongAddress,
            "AccessDenied" | "AccessDeniedException" if message.contains("kms:") => {
                Self::Kms { problem: KmsProblem::Denied, key: key_in(message), needs }
            }
            "AccessDenied" | "AccessDeniedException" => Self::Denied(call.permission()),
            code @ ("RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture") => {
                Self::ClockSkew(code.to_owned())
            }
            code @ ("SignatureDoesNotMatch" | "InvalidSignatureException") if is_about_time(message) => {
                Self::ClockSkew(code.to_owned())
            }
            code @ ("SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature") => {
                Self::BadSignature(code.to_owned())
            }
            code @ ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
                Self::Expired(code.to_owned())
            }
            code @ "InvalidSecurity" => Self::NeedsHttps(code.to_owned()),
            code @ ("InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "InvalidAccessKeyId"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "AuthFailure"
            | "NotAuthorized"
            | "OptInRequired") => Self::Refused(code.to_owned()),
            code => Self::Code(code.to_owned()),
        }
    }

    /// The same error, naming the queue's `key` where SQS has not.
    #[must_use]
    pub fn with_key(self, queues_key: Option<&str>) -> Self {
        match self {
            Self::Kms { problem, key: None, needs } => {
                Self::Kms { problem, key: queues_key.map(str::to_owned), needs }
            }
            other => other,
        }
    }

    /// The kind of error, as a span's `error.type`.
    pub fn kind(&self) -> &str {
        match self {
            Self::NoSuchQueue => "no_such_queue",
            Self::WrongAddress => "wrong_address",
            Self::NoCredentials => "no_credentials",
            Self::NoRegion => "no_region",
            Self::Denied(_) => "access_denied",
            Self::Kms { .. } => "kms",
            Self::Expired(code)
            | Self::Refused(code)
            | Self::BadSignature(code)
            | Self::ClockSkew(code)
            | Self::NeedsHttps(code)
            | Self::Code(code) => code,
            Self::Unreachable(..) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::NotSqs(_) => "not_sqs",
        }
    }

    /// Whether whoever calls may not do so, or is not known.
    pub fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::Denied(_)
                | Self::Refused(_)
                | Self::NoCredentials
                | Self::Expired(_)
                | Self::BadSignature(_)
                | Self::ClockSkew(_)
                | Self::NeedsHttps(_)
                | Self::Kms { .. }
        )
    }

    /// Whether calls of every kind meet this problem: credentials, the clock, the network.
    pub fn is_everywhere(&self) -> bool {
        let is_of_one_call = matches!(self, Self::Denied(_) | Self::Kms { .. });
        let is_network =
            matches!(self, Self::Unreachable(..) | Self::Timeout(_) | Self::NotSqs(_) | Self::NoRegion);
        is_network || self.is_denial() && !is_of_one_call
    }

    /// Whether SQS refuses the message itself, so that sending it again cannot help.
    pub fn blames_message(&self) -> bool {
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

/// A signature holds for some minutes, by the clock of whoever signed.
fn is_about_time(message: &str) -> bool {
    message.contains("Signature expired") || message.contains("not yet current")
}

/// A call that got no answer has no code, only a chain of causes.
fn from_chain(first: Option<&(dyn Error + 'static)>) -> SqsError {
    let chain = || std::iter::successors(first, |error| (*error).source());
    let any = |text: &str| chain().any(|error| error.to_string().contains(text));
    if any("Missing Region") || any("missing region") {
        return SqsError::NoRegion;
    }
    if any("credential") {
        return SqsError::NoCredentials;
    }
    let last = chain().last().map_or_else(|| "no cause given".to_owned(), ToString::to_string);
    if any("InvalidContentType") || any("corrupt message") {
        return SqsError::Unreachable(
            format!("{last}: it does not speak TLS, so its URL is http://"),
            proxy(),
        );
    }
    SqsError::Unreachable(last, proxy())
}

/// Names the variable that sends calls through a proxy; never its value, which may hold a password.
fn proxy() -> String {
    let variables = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    variables.iter().find(is_set).map_or_else(String::new, |name| {
        format!("; calls go through the proxy in {name} (NO_PROXY makes exceptions)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(code: &str, message: &str) -> String {
        SqsError::from_code(code, message, Call::Receive).to_string()
    }

    #[test]
    fn codes_are_known_under_every_protocols_name() {
        for code in ["AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist"] {
            assert_eq!(SqsError::from_code(code, "", Call::Find), SqsError::NoSuchQueue);
        }
        let throttled = SqsError::from_code("RequestThrottled", "", Call::Send);
        assert_eq!(throttled, SqsError::Code("RequestThrottled".to_owned()));
    }

    #[test]
    fn a_denial_names_the_permission() {
        for code in ["AccessDenied", "com.amazon.coral.service#AccessDeniedException"] {
            let denied = SqsError::from_code(code, "", Call::Extend);
            assert!(denied.to_string().contains("sqs:ChangeMessageVisibility") && denied.is_denial());
        }
    }

    #[test]
    fn an_error_of_the_key_names_the_key_and_the_permission() {
        let arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let message =
            format!("User: x is not authorized to perform: kms:Decrypt on resource: {arn} (secret)");
        for code in ["KMS.AccessDeniedException", "com.amazonaws.sqs#KmsAccessDenied", "AccessDenied"] {
            let text = explained(code, &message);
            assert!(text.contains(arn) && text.contains("kms:Decrypt") && !text.contains("secret"), "{text}");
        }
        for (code, what) in [
            ("KMS.DisabledException", "is disabled"),
            ("KmsDisabled", "is disabled"),
            ("KMS.NotFoundException", "does not exist"),
            ("KMS.InvalidStateException", "pending deletion"),
            ("KmsInvalidKeyUsage", "symmetric"),
            ("KMS.ThrottlingException", "throttled"),
        ] {
            let problem = SqsError::from_code(code, "", Call::Send).with_key(Some("alias/logins"));
            let text = problem.to_string();
            assert!(text.contains(what) && text.contains("alias/logins"), "{text}");
            assert!(text.contains("kms:GenerateDataKey"), "{text}");
        }
        assert!(explained("KMS.DisabledException", "").contains("KmsMasterKeyId"));
    }

    #[test]
    fn clocks_secrets_tokens_and_addresses_are_told_apart() {
        for (code, message, says) in [
            ("RequestTimeTooSkewed", "", "clock"),
            (
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than",
                "clock differs",
            ),
            ("SignatureDoesNotMatch", "Signature not yet current: 2026", "clock differs"),
            ("SignatureDoesNotMatch", "The request signature we calculated", "AWS_SECRET_ACCESS_KEY"),
            ("SignatureDoesNotMatch", "The request signature we calculated", "clock"),
            ("ExpiredToken", "", "aws sso login"),
            ("InvalidClientTokenId", "", "AWS_ACCESS_KEY_ID"),
            ("InvalidSecurity", "", "https://"),
            ("InvalidAddress", "", "region"),
            ("QueueDoesNotExist", "", "AWS_REGION"),
        ] {
            let text = explained(code, message);
            assert!(text.contains(says), "{code}: {text}");
        }
    }

    #[test]
    fn nothing_of_an_answer_is_repeated_but_a_keys_arn() {
        for code in ["AccessDenied", "KMS.DisabledException", "SignatureDoesNotMatch", "Whatever"] {
            assert!(!explained(code, "handle AQEB-secret-handle, arn:aws:sqs:eu:1:q").contains("secret"));
        }
    }

    #[test]
    fn only_codes_about_the_message_blame_the_message() {
        assert!(SqsError::Code("InvalidMessageContents".to_owned()).blames_message());
        assert!(!SqsError::Code("RequestThrottled".to_owned()).blames_message());
        assert!(!SqsError::Denied("sqs:SendMessage").blames_message());
    }
}
