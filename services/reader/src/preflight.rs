//! Finds the queues and checks that they can be used, before anything is received.

use std::time::Duration;

use veilpost_runtime::{Backoff, BadSettings, Lifecycle};
use veilpost_sqs::{SqsError, has_wrong_port, region_of};

use crate::client::Clients;
use crate::max_receives::MaxReceives;
use crate::metrics::NO_DEAD_LETTER_QUEUE;
use crate::outage::CallOutage;
use crate::queue::Queue;
use crate::queue_facts::{QueueFacts, RedrivePolicy, is_fifo_name};
use crate::settings::{OnReject, Settings};

/// Drains and crashes easily use up fewer receives than this.
const FEW_RECEIVES: u64 = 5;

/// The queues, checked.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) source: Queue,
    /// Where rejected messages go; `None` leaves them in the source.
    pub(crate) dead_letters: Option<DeadLetterQueue>,
    pub(crate) max_receives: MaxReceives,
}

/// The dead-letter queue, and the largest message that it takes.
#[derive(Debug)]
pub(crate) struct DeadLetterQueue {
    pub(crate) queue: Queue,
    pub(crate) max_message_bytes: usize,
}

impl Queues {
    /// Waits while SQS cannot be reached, a queue is missing, credentials are refused, or messages may not be
    /// kept hidden or deleted. `None` when the drain came first; [`BadSettings`] when waiting cannot help.
    pub(crate) async fn open(
        clients: &Clients,
        settings: &Settings,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Self>, BadSettings> {
        let dead_letter_name = dead_letter_name(settings);
        for name in std::iter::once(settings.queue.as_str()).chain(dead_letter_name) {
            refuse_fifo(name)?;
            refuse_other_region(name, clients)?;
        }
        let dead_letters = async {
            let Some(name) = dead_letter_name else { return Some(None) };
            inspect_patiently(clients, "open the dead-letter queue", name, lifecycle).await.map(Some)
        };
        let source = inspect_patiently(clients, "open the queue", &settings.queue, lifecycle);
        let (Some((source, facts)), Some(dead_letters)) = tokio::join!(source, dead_letters) else {
            return Ok(None);
        };
        check(&facts, dead_letters.as_ref().map(|(_, facts)| facts), settings.on_reject)?;
        warn(&facts, settings);
        if !is_permitted(&source, lifecycle).await {
            return Ok(None);
        }
        let max_receives = MaxReceives::default();
        max_receives.set(facts.max_receives());
        let dead_letters = dead_letters
            .map(|(queue, facts)| DeadLetterQueue { queue, max_message_bytes: facts.max_message_bytes });
        Ok(Some(Self { source, dead_letters, max_receives }))
    }
}

fn dead_letter_name(settings: &Settings) -> Option<&str> {
    match settings.on_reject {
        OnReject::DeadLetter => settings.dead_letter_queue_url.as_deref(),
        OnReject::Leave => None,
    }
}

/// Tries until the queue answers; `None` when the drain came first.
async fn inspect_patiently(
    clients: &Clients,
    doing: &'static str,
    name: &str,
    lifecycle: &Lifecycle,
) -> Option<(Queue, QueueFacts)> {
    let queue = format!("{name} at {}", clients.place);
    let outage = CallOutage::new(doing, &queue).sharing(&clients.access);
    patiently(&outage, lifecycle, || inspect(clients, name)).await
}

/// Waits while SQS denies to keep messages hidden or to delete them; false when the drain came first. Without
/// one of these permissions messages would be stored, and moved to the dead-letter queue as well.
async fn is_permitted(source: &Queue, lifecycle: &Lifecycle) -> bool {
    let extend = CallOutage::of(source, "keep messages hidden");
    let delete = CallOutage::of(source, "delete messages");
    patiently(&extend, lifecycle, || async { unless_denied(source.check_extend().await) }).await.is_some()
        && patiently(&delete, lifecycle, || async { unless_denied(source.check_delete().await) })
            .await
            .is_some()
}

/// Other failures than a denial say nothing about permissions, and may pass.
fn unless_denied(checked: Result<(), SqsError>) -> Result<(), SqsError> {
    match checked {
        Err(problem) if problem.is_denial() => Err(problem),
        Err(problem) => {
            tracing::warn!(%problem, "cannot check a permission; going on without");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Tries until `attempt` succeeds; `None` when the drain came first.
async fn patiently<T, F>(outage: &CallOutage, lifecycle: &Lifecycle, attempt: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, SqsError>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        tokio::select! {
            biased;
            () = lifecycle.draining() => return None,
            done = attempt() => match done {
                Ok(done) => {
                    outage.succeeded();
                    return Some(done);
                }
                Err(problem) => outage.failed(&problem),
            }
        }
        tokio::select! {
            () = lifecycle.draining() => return None,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

async fn inspect(clients: &Clients, name: &str) -> Result<(Queue, QueueFacts), SqsError> {
    let queue = Queue::resolve(clients, name).await?;
    let facts = QueueFacts::new(queue.url(), &queue.attributes().await?);
    Ok((queue.with_key(facts.key.clone()), facts))
}

/// Where SQS itself moves rejected messages, when the reader was not told to send them anywhere.
fn forgotten_dead_letters<'a>(source: &'a QueueFacts, settings: &Settings) -> Option<&'a RedrivePolicy> {
    let is_forgotten = settings.on_reject == OnReject::DeadLetter && settings.dead_letter_queue_url.is_none();
    source.redrive.as_ref().filter(|_| is_forgotten)
}

/// A queue's URL on AWS names its region, and no other region knows the queue.
fn refuse_other_region(name: &str, clients: &Clients) -> Result<(), BadSettings> {
    if has_wrong_port(name) {
        return Err(BadSettings(format!("{name} has a port that is not a number between 1 and 65535")));
    }
    match region_of(name) {
        Some(region) if region != clients.region && !clients.has_own_endpoint => Err(BadSettings(format!(
            "{name} is in {region}, but calls go to {}; set AWS_REGION={region}",
            clients.region
        ))),
        _ => Ok(()),
    }
}

fn refuse_fifo(name: &str) -> Result<(), BadSettings> {
    if is_fifo_name(name) {
        return Err(BadSettings(format!(
            "{name} is a FIFO queue; Veilpost does not keep the order of messages"
        )));
    }
    Ok(())
}

fn check(
    source: &QueueFacts,
    dead_letters: Option<&QueueFacts>,
    on_reject: OnReject,
) -> Result<(), BadSettings> {
    if source.is_fifo || dead_letters.is_some_and(|queue| queue.is_fifo) {
        return Err(BadSettings("FIFO queues cannot be used: the order of messages is not kept".to_owned()));
    }
    match dead_letters {
        Some(dead_letters) if dead_letters.identity == source.identity => Err(BadSettings(format!(
            "--dead-letter-queue-url is the queue itself ({}); rejected messages would go in circles",
            source.identity
        ))),
        None if on_reject == OnReject::DeadLetter && source.redrive.is_none() => Err(BadSettings(
            "rejected messages have nowhere to go: give --dead-letter-queue-url, or give the queue a RedrivePolicy, \
             or say --on-reject leave if they may come again until the queue's retention deletes them"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

fn warn(source: &QueueFacts, settings: &Settings) {
    if let Some(RedrivePolicy { max_receive_count, .. }) = source.redrive
        && max_receive_count < FEW_RECEIVES
    {
        tracing::warn!(
            max_receive_count,
            "the queue's RedrivePolicy moves messages away after very few receives; drains and crashes use up \
             receives too: set maxReceiveCount to 5 or more"
        );
    }
    let forgotten = forgotten_dead_letters(source, settings);
    metrics::gauge!(NO_DEAD_LETTER_QUEUE).set(if forgotten.is_some() { 1.0 } else { 0.0 });
    if let Some(RedrivePolicy { target, max_receive_count }) = forgotten {
        let name = target.rsplit(':').next().unwrap_or(target);
        tracing::warn!(
            moved_to = target,
            after_receives = max_receive_count,
            "rejected messages lose their reasons: they are left in the queue, and SQS moves them after that many \
             receives; give --dead-letter-queue-url {name}, and the role sqs:SendMessage on it"
        );
    }
    if settings.on_reject == OnReject::Leave && settings.dead_letter_queue_url.is_some() {
        tracing::warn!("--dead-letter-queue-url has no effect together with --on-reject leave");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_sqs::types::QueueAttributeName;

    use super::*;
    use crate::limits::MAX_MESSAGE_BYTES;

    fn facts(identity: &str) -> QueueFacts {
        QueueFacts {
            identity: identity.to_owned(),
            is_fifo: false,
            max_message_bytes: MAX_MESSAGE_BYTES,
            redrive: None,
            key: None,
        }
    }

    fn with_redrive(identity: &str) -> QueueFacts {
        QueueFacts {
            redrive: Some(RedrivePolicy {
                max_receive_count: 5,
                target: "arn:aws:sqs:eu-west-1:1:dead".to_owned(),
            }),
            ..facts(identity)
        }
    }

    #[test]
    fn without_a_destination_for_rejected_messages_the_refusal_names_the_three_ways_out() {
        let refusal = check(&facts("a"), None, OnReject::DeadLetter).unwrap_err().to_string();
        for way in ["--dead-letter-queue-url", "RedrivePolicy", "--on-reject leave"] {
            assert!(refusal.contains(way), "{refusal}");
        }
    }

    #[test]
    fn each_of_the_three_ways_out_is_accepted() {
        check(&facts("a"), Some(&facts("b")), OnReject::DeadLetter).unwrap();
        check(&with_redrive("a"), None, OnReject::DeadLetter).unwrap();
        check(&facts("a"), None, OnReject::Leave).unwrap();
    }

    #[test]
    fn a_url_of_another_region_is_refused_with_the_region_to_set() {
        let aws = aws_config::SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::latest());
        let aws = aws.region(aws_config::Region::from_static("us-east-1")).build();
        let clients = Clients::new(&aws, Duration::ZERO).unwrap();
        let clients = Clients { has_own_endpoint: false, ..clients };
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/logins";
        let refusal = refuse_other_region(url, &clients).unwrap_err().to_string();
        assert!(refusal.contains("AWS_REGION=eu-west-1"), "{refusal}");
        refuse_other_region("logins", &clients).unwrap();
        refuse_other_region(url, &Clients { region: "eu-west-1".to_owned(), ..clients.clone() }).unwrap();
        refuse_other_region(url, &Clients { has_own_endpoint: true, ..clients }).unwrap();
    }

    #[test]
    fn a_redrive_policy_without_a_dead_letter_queue_url_is_noticed() {
        use clap::Parser;
        let settings = |more: &[&str]| {
            let least = ["veilpost-reader", "--queue", "q", "--downstream", "http://masker:50051"];
            Settings::try_parse_from(least.iter().chain(more)).unwrap()
        };
        let forgotten = |more: &[&str]| forgotten_dead_letters(&with_redrive("a"), &settings(more)).is_some();
        assert!(forgotten(&[]));
        assert!(!forgotten(&["--dead-letter-queue-url", "dead"]) && !forgotten(&["--on-reject", "leave"]));
        assert!(forgotten_dead_letters(&facts("a"), &settings(&[])).is_none());
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
        let fifo = QueueFacts::new("", &attributes);
        assert!(check(&fifo, Some(&facts("b")), OnReject::DeadLetter).is_err());
        assert!(check(&facts("b"), Some(&fifo), OnReject::DeadLetter).is_err());
    }
}
