//! What can go wrong between the reader and SQS, in one clear line each.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;

/// Why a call to SQS failed. Its text names what to check, and never repeats what SQS says: that may quote receipt
/// handles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the queue does not exist; check its name, the region and the account")]
    NoSuchQueue,
    #[error(
        "no usable AWS credentials; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile or the role"
    )]
    NoCredentials,
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

impl Problem {
    pub(crate) fn from_sdk<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug,
    {
        match error {
            SdkError::TimeoutError(_) => Self::Timeout,
            SdkError::ServiceError(service) => service.err().code().map_or(Self::NotSqs, from_code),
            SdkError::ResponseError(_) => Self::NotSqs,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Timeout,
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => from_chain(error.source()),
            _ => Self::Unreachable("unknown failure".to_owned()),
        }
    }

    /// The class of the problem, as a span's `error.type`.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::NoSuchQueue => "no_such_queue",
            Self::NoCredentials => "no_credentials",
            Self::Refused(code) | Self::Code(code) => code,
            Self::Unreachable(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::NotSqs => "not_sqs",
        }
    }

    /// Whether the very message is what SQS refuses, so that sending it again cannot help.
    pub(crate) fn blames_message(&self) -> bool {
        matches!(self, Self::Code(code) if blames_message(code))
    }
}

/// Whether an error code says that the message itself can never be accepted.
pub(crate) fn blames_message(code: &str) -> bool {
    matches!(
        bare(code),
        "InvalidMessageContents" | "InvalidParameterValue" | "InvalidAttributeValue" | "MessageTooLong"
    )
}

/// Codes come with and without the prefixes of SQS's older protocols.
fn bare(code: &str) -> &str {
    code.rsplit(['.', '#']).next().unwrap_or(code)
}

fn from_code(code: &str) -> Problem {
    match bare(code) {
        "NonExistentQueue" | "QueueDoesNotExist" | "QueueDeletedRecently" => Problem::NoSuchQueue,
        code @ ("AccessDenied"
        | "AccessDeniedException"
        | "InvalidClientTokenId"
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
        | "KmsAccessDenied") => Problem::Refused(code.to_owned()),
        code => Problem::Code(code.to_owned()),
    }
}

/// Failures before any answer have no codes, only causes.
fn from_chain(first: Option<&(dyn Error + 'static)>) -> Problem {
    let chain = || std::iter::successors(first, |error| (*error).source());
    if chain().any(|error| error.to_string().contains("credential")) {
        return Problem::NoCredentials;
    }
    Problem::Unreachable(chain().last().map_or_else(|| "no cause given".to_owned(), ToString::to_string))
}

/// Says a lasting problem once: again when it changes, and now and then while it lasts.
///
/// One is shared by everything that makes the same call, so that eight pollers say one line.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// What is being done, as in "cannot receive".
    doing: &'static str,
    queue: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Option<(Problem, Instant)>,
    /// Something has been said, and not yet that it is over.
    open: bool,
    /// The first failure after the last success.
    since: Option<Instant>,
}

const SAY_AGAIN: Duration = Duration::from_mins(5);

impl Trouble {
    pub(crate) fn new(doing: &'static str, queue: &str) -> Self {
        Self { doing, queue: queue.to_owned(), state: Mutex::default() }
    }

    pub(crate) fn met(&self, problem: &Problem) {
        if self.is_news(problem) {
            tracing::warn!(queue = self.queue, problem = %problem, "cannot {}; trying again", self.doing);
        }
    }

    fn is_news(&self, problem: &Problem) -> bool {
        let mut state = self.state();
        state.since.get_or_insert_with(Instant::now);
        let known =
            state.said.as_ref().is_some_and(|(said, when)| said == problem && when.elapsed() < SAY_AGAIN);
        if !known {
            state.said = Some((problem.clone(), Instant::now()));
            state.open = true;
        }
        !known
    }

    /// The call has succeeded.
    pub(crate) fn over(&self) {
        let mut state = self.state();
        state.since = None;
        if std::mem::take(&mut state.open) {
            drop(state);
            tracing::info!(queue = self.queue, "can {} again", self.doing);
        }
    }

    /// For how long there have been failures and no success.
    pub(crate) fn lasts(&self) -> Duration {
        self.state().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_under_every_protocols_name() {
        for code in ["AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist"] {
            assert_eq!(from_code(code), Problem::NoSuchQueue);
        }
        assert_eq!(from_code("InvalidClientTokenId"), Problem::Refused("InvalidClientTokenId".to_owned()));
        assert_eq!(from_code("RequestThrottled"), Problem::Code("RequestThrottled".to_owned()));
    }

    #[test]
    fn only_codes_about_the_message_blame_the_message() {
        assert!(Problem::Code("InvalidMessageContents".to_owned()).blames_message());
        assert!(!Problem::Code("RequestThrottled".to_owned()).blames_message());
        assert!(!Problem::Refused("AccessDenied".to_owned()).blames_message());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_problem_is_news_once_then_after_a_while_and_whenever_it_changes() {
        let trouble = Trouble::new("receive", "q");
        assert!(trouble.is_news(&Problem::Timeout));
        assert!(!trouble.is_news(&Problem::Timeout));
        assert!(trouble.is_news(&Problem::NoSuchQueue));
        tokio::time::advance(SAY_AGAIN).await;
        assert!(trouble.is_news(&Problem::NoSuchQueue));
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_lasts_from_the_first_failure_to_the_next_success() {
        let trouble = Trouble::new("receive", "q");
        for _ in 0..2 {
            trouble.met(&Problem::Timeout);
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        assert_eq!(trouble.lasts(), Duration::from_secs(4));
        trouble.over();
        assert_eq!(trouble.lasts(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_that_comes_and_goes_is_not_news_each_time() {
        let trouble = Trouble::new("receive", "q");
        assert!(trouble.is_news(&Problem::Timeout));
        trouble.over();
        assert!(!trouble.is_news(&Problem::Timeout));
    }
}
