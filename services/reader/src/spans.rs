//! How spans name a queue on SQS.

use veilpost_reader_core::spans::Destination;

/// OpenTelemetry's name for SQS.
const SYSTEM: &str = "aws_sqs";

/// The queue at `url`. Its name is the last part of the URL.
pub(crate) fn destination(url: &str) -> Destination {
    let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or(url);
    Destination { system: SYSTEM, name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_by_the_last_part_of_its_url() {
        assert_eq!(destination("https://sqs.eu-west-1.amazonaws.com/123456789012/logins").name, "logins");
        assert_eq!(destination("http://localhost:4566/000000000000/logins/").name, "logins");
    }
}
