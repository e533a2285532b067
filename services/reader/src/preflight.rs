//! Finds the queues and checks that they can be used, before anything is received.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;
use veilpost_runtime::{Backoff, BadSettings, Lifecycle};

use crate::client::Clients;
use crate::error::{Problem, Trouble};
use crate::queue::Queue;
use crate::settings::{OnReject, Settings};
use crate::window::MAX_MESSAGE_BYTES;

/// Receives that a message survives fewer of than this are easily used up by drains and crashes.
const FEW_RECEIVES: u64 = 5;

/// The queues, checked.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) source: Queue,
    /// Where rejected messages go and how large a message it takes; `None` leaves them in the source.
    pub(crate) dead_letters: Option<(Queue, usize)>,
}

impl Queues {
    /// Waits for as long as SQS cannot be reached, a queue is missing or credentials are refused. `None` when the
    /// drain came first; [`BadSettings`] when waiting cannot help.
    pub(crate) async fn open(
        clients: &Clients,
        settings: &Settings,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Self>, BadSettings> {
        let elsewhere = dead_letter_queue(settings);
        for name in std::iter::once(settings.queue.as_str()).chain(elsewhere) {
            refuse_fifo(name)?;
        }
        let dead_letters = async {
            match elsewhere {
                Some(name) => {
                    patiently(clients, "open the dead-letter queue", name, lifecycle).await.map(Some)
                }
                None => Some(None),
            }
        };
        let source = patiently(clients, "open the queue", &settings.queue, lifecycle);
        let (Some((source, facts)), Some(dead_letters)) = tokio::join!(source, dead_letters) else {
            return Ok(None);
        };
        check(&facts, dead_letters.as_ref().map(|(_, facts)| facts), settings.on_reject)?;
        warn(&facts, settings);
        let dead_letters = dead_letters.map(|(queue, facts)| (queue, facts.largest_message));
        Ok(Some(Self { source, dead_letters }))
    }
}

fn dead_letter_queue(settings: &Settings) -> Option<&str> {
    match settings.on_reject {
        OnReject::DeadLetter => settings.dead_letter_queue_url.as_deref(),
        OnReject::Leave => None,
    }
}

async fn patiently(
    clients: &Clients,
    doing: &'static str,
    name: &str,
    lifecycle: &Lifecycle,
) -> Option<(Queue, Facts)> {
    let trouble = Trouble::new(doing, &format!("{name} at {}", clients.place));
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        tokio::select! {
            biased;
            () = lifecycle.draining() => return None,
            found = inspect(clients, name) => match found {
                Ok(found) => return Some(found),
                Err(problem) => trouble.met(&problem),
            }
        }
        tokio::select! {
            () = lifecycle.draining() => return None,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

async fn inspect(clients: &Clients, name: &str) -> Result<(Queue, Facts), Problem> {
    let queue = Queue::resolve(clients, name).await?;
    let facts = Facts::of(queue.url(), &queue.attributes().await?);
    Ok((queue, facts))
}

/// What the checks need to know of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    /// Its ARN, or its URL where the queue does not say.
    identity: String,
    fifo: bool,
    largest_message: usize,
    redrive: Option<Redrive>,
}

/// A queue's RedrivePolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Redrive {
    max_receive_count: u64,
}

impl Facts {
    fn of(url: &str, attributes: &HashMap<QueueAttributeName, String>) -> Self {
        let text = |name| attributes.get(&name).map(String::as_str);
        let identity = text(QueueAttributeName::QueueArn).unwrap_or(url).to_owned();
        let largest = text(QueueAttributeName::MaximumMessageSize).and_then(|size| size.parse().ok());
        Self {
            fifo: text(QueueAttributeName::FifoQueue) == Some("true") || is_fifo(&identity),
            identity,
            largest_message: largest.unwrap_or(MAX_MESSAGE_BYTES),
            redrive: text(QueueAttributeName::RedrivePolicy).and_then(redrive),
        }
    }
}

/// SQS gives the count as a number or as text, as whoever set the policy wrote it.
fn redrive(policy: &str) -> Option<Redrive> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    policy.get("deadLetterTargetArn")?.as_str().filter(|arn| !arn.is_empty())?;
    let count = policy.get("maxReceiveCount")?;
    let max_receive_count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    Some(Redrive { max_receive_count })
}

/// The names of FIFO queues, and no others, end so.
fn is_fifo(name: &str) -> bool {
    name.trim_end_matches('/').rsplit_once('.').is_some_and(|(_, end)| end == "fifo")
}

fn refuse_fifo(name: &str) -> Result<(), BadSettings> {
    if is_fifo(name) {
        return Err(BadSettings(format!(
            "{name} is a FIFO queue; Veilpost does not keep the order of messages"
        )));
    }
    Ok(())
}

fn check(source: &Facts, dead_letters: Option<&Facts>, on_reject: OnReject) -> Result<(), BadSettings> {
    if source.fifo || dead_letters.is_some_and(|queue| queue.fifo) {
        return Err(BadSettings("FIFO queues cannot be used: the order of messages is not kept".to_owned()));
    }
    match dead_letters {
        Some(dead_letters) if dead_letters.identity == source.identity => Err(BadSettings(format!(
            "--dead-letter-queue-url is the queue itself ({}); rejected messages would go in circles",
            source.identity
        ))),
        None if on_reject == OnReject::DeadLetter && source.redrive.is_none() => Err(BadSettings(
            "rejected messages have nowhere to go: give --dead-letter-queue-url, or give the queue a RedrivePolicy, or \
             say --on-reject leave if they may come again until the queue's retention deletes them"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

fn warn(source: &Facts, settings: &Settings) {
    if let Some(Redrive { max_receive_count }) = source.redrive
        && max_receive_count < FEW_RECEIVES
    {
        tracing::warn!(
            max_receive_count,
            "the queue's RedrivePolicy moves messages away after very few receives; drains and crashes cost receives \
             too: set maxReceiveCount to 5 or more"
        );
    }
    if settings.on_reject == OnReject::Leave && settings.dead_letter_queue_url.is_some() {
        tracing::warn!("--dead-letter-queue-url has no effect together with --on-reject leave");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(identity: &str) -> Facts {
        Facts {
            identity: identity.to_owned(),
            fifo: false,
            largest_message: MAX_MESSAGE_BYTES,
            redrive: None,
        }
    }

    fn with_redrive(identity: &str) -> Facts {
        Facts { redrive: Some(Redrive { max_receive_count: 5 }), ..facts(identity) }
    }

    #[test]
    fn without_a_place_for_rejected_messages_the_refusal_says_the_three_ways_out() {
        let refusal = check(&facts("a"), None, OnReject::DeadLetter).unwrap_err().to_string();
        for way in ["--dead-letter-queue-url", "RedrivePolicy", "--on-reject leave"] {
            assert!(refusal.contains(way), "{refusal}");
        }
    }

    #[test]
    fn each_of_the_three_ways_out_is_one() {
        check(&facts("a"), Some(&facts("b")), OnReject::DeadLetter).unwrap();
        check(&with_redrive("a"), None, OnReject::DeadLetter).unwrap();
        check(&facts("a"), None, OnReject::Leave).unwrap();
    }

    #[test]
    fn the_queue_cannot_be_its_own_dead_letter_queue() {
        let refusal = check(&with_redrive("a"), Some(&with_redrive("a")), OnReject::DeadLetter).unwrap_err();
        assert!(refusal.to_string().contains("itself"));
    }

    #[test]
    fn fifo_queues_are_refused_by_name_url_and_attribute() {
        assert!(refuse_fifo("logins.fifo").is_err());
        assert!(refuse_fifo("https://sqs.eu-west-1.amazonaws.com/1/logins.fifo").is_err());
        assert!(refuse_fifo("fifo").is_ok());
        let attributes = HashMap::from([(QueueAttributeName::FifoQueue, "true".to_owned())]);
        let fifo = Facts::of("", &attributes);
        assert!(check(&fifo, Some(&facts("b")), OnReject::DeadLetter).is_err());
        assert!(check(&facts("b"), Some(&fifo), OnReject::DeadLetter).is_err());
    }

    #[test]
    fn a_redrive_policys_count_may_be_a_number_or_text() {
        for count in ["3", "\"3\""] {
            let policy = format!(r#"{{"deadLetterTargetArn":"arn","maxReceiveCount":{count}}}"#);
            assert_eq!(redrive(&policy), Some(Redrive { max_receive_count: 3 }));
        }
        assert_eq!(redrive("{}"), None);
        assert_eq!(redrive("nonsense"), None);
    }

    #[test]
    fn a_queue_that_does_not_say_takes_the_largest_messages() {
        assert_eq!(Facts::of("", &HashMap::new()).largest_message, MAX_MESSAGE_BYTES);
        let attributes = HashMap::from([(QueueAttributeName::MaximumMessageSize, "1024".to_owned())]);
        assert_eq!(Facts::of("", &attributes).largest_message, 1024);
    }
}
