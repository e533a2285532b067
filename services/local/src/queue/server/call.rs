//! One call: what it brings, and how its answer is written.

use serde::{Deserialize, Serialize};

use super::shared::Shared;
use crate::queue::state::{ACCOUNT, Account, Code, Millis, SqsError};

#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    /// What queue URLs begin with.
    pub(super) base: &'a str,
    pub(super) body: &'a [u8],
}

/// An answer without fields.
#[derive(Serialize)]
pub(super) struct Empty {}

impl<'a> Call<'a> {
    /// The call's fields.
    pub(super) fn input<I: Deserialize<'a>>(&self) -> Result<I, SqsError> {
        // The parser's own text may quote a value.
        serde_json::from_slice(self.body).map_err(|error| {
            let at = format!("line {} column {}", error.line(), error.column());
            SqsError::new(Code::Serialization, format!("The request is not the JSON of this operation: {at}"))
        })
    }

    /// Runs an operation that does not wait.
    pub(super) fn run<I, O>(
        &self,
        work: impl FnOnce(&Self, I) -> Result<O, SqsError>,
    ) -> Result<Vec<u8>, SqsError>
    where
        I: Deserialize<'a>,
        O: Serialize,
    {
        output(&work(self, self.input()?)?)
    }

    /// Changes the queue at `url`.
    pub(super) fn change<T>(
        &self,
        url: &str,
        work: impl FnOnce(&mut Account, Millis, &str) -> Result<T, SqsError>,
    ) -> Result<T, SqsError> {
        let name = queue_name(url)?;
        self.shared.change(|account, now| work(account, now, name))
    }

    pub(super) fn url_of(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.base)
    }
}

/// The JSON of an answer.
pub(super) fn output(answer: &impl Serialize) -> Result<Vec<u8>, SqsError> {
    serde_json::to_vec(answer).map_err(|error| SqsError::new(Code::Serialization, error.to_string()))
}

/// The queue that a URL names, whatever its host.
pub(super) fn queue_name(url: &str) -> Result<&str, SqsError> {
    if url.is_empty() {
        return Err(missing("QueueUrl"));
    }
    let mut parts = url.rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(ACCOUNT), Some(_)) => Ok(name),
        (Some(_), Some(_), Some(_)) => Err(SqsError::no_queue()),
        _ => {
            let text = format!("The address {url} is not valid for this endpoint.");
            Err(SqsError::new(Code::InvalidAddress, text))
        }
    }
}

pub(super) fn missing(parameter: &str) -> SqsError {
    let text = format!("The request must contain the parameter {parameter}.");
    SqsError::new(Code::MissingParameter, text)
}

/// A number within its range.
pub(super) fn within(parameter: &str, value: i64, least: i64, most: i64) -> Result<u64, SqsError> {
    let number = Some(value).filter(|value| (least..=most).contains(value));
    number
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(|| SqsError::out_of_range(parameter, value, least, most))
}

/// Seconds within their range, as milliseconds.
pub(super) fn seconds(parameter: &str, value: Option<i64>, most: i64) -> Result<Option<Millis>, SqsError> {
    value.map(|value| Ok(within(parameter, value, 0, most)? * 1000)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_the_path_of_its_url() {
        assert_eq!(queue_name("http://queue:9324/000000000000/logins"), Ok("logins"));
        assert_eq!(queue_name("http://queue:9324/1/logins").unwrap_err().code, Code::QueueDoesNotExist);
        assert_eq!(queue_name("logins").unwrap_err().code, Code::InvalidAddress);
        assert_eq!(queue_name("").unwrap_err().code, Code::MissingParameter);
    }

    #[test]
    fn an_input_that_is_no_json_is_refused_without_a_word_of_it() {
        let call = Call { shared: &Shared::new(), base: "", body: br#"{"QueueUrl": SECRET}"# };
        let error = call.input::<serde_json::Value>().unwrap_err();
        assert!(error.code == Code::Serialization && !error.message.contains("SECRET"), "{error:?}");
    }
}
