//! Move tasks, which redrive a dead-letter queue.

use std::collections::BTreeSet;

use aws_sdk_sqs::types::{ListMessageMoveTasksResultEntry, QueueAttributeName};
use tokio::time::{Duration, sleep};

use super::{Sqs, code, receives};

const SOURCE: &str = "arn:aws:sqs:us-east-1:000000000000:letters";

impl Sqs {
    /// Sends a message and receives it until it is in the dead-letter queue; returns its id.
    async fn dead_letter(&self, body: &str) -> String {
        let id = self.send(body).await;
        for _ in 0..10 {
            self.receive_one(0).await;
        }
        assert!(self.receive(self.url(), 0, 0).await.is_empty());
        id
    }

    async fn last_task(&self) -> ListMessageMoveTasksResultEntry {
        let listed = self.client.list_message_move_tasks().source_arn(SOURCE).send().await.unwrap();
        listed.results.unwrap().swap_remove(0)
    }

    /// The last task, once it has ended.
    async fn ended_task(&self) -> ListMessageMoveTasksResultEntry {
        loop {
            let task = self.last_task().await;
            if task.status.as_deref() != Some("RUNNING") {
                return task;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_redrive_brings_messages_back_to_their_queue_as_new_messages() {
    let sqs = Sqs::start().await;
    let mut old = BTreeSet::new();
    for body in ["a", "b", "c"] {
        old.insert(sqs.dead_letter(body).await);
    }
    assert_eq!(sqs.counts(&sqs.pair.dead_letter_url).await, [3, 0, 0]);
    let started = sqs.client.start_message_move_task().source_arn(SOURCE).send().await.unwrap();
    assert!(started.task_handle.is_some());
    let task = sqs.ended_task().await;
    assert_eq!(task.status.as_deref(), Some("COMPLETED"));
    assert_eq!((task.approximate_number_of_messages_moved, task.failure_reason), (3, None));
    assert_eq!(sqs.counts(&sqs.pair.dead_letter_url).await, [0, 0, 0]);

    let back = sqs.receive(sqs.url(), 30, 0).await;
    let bodies: BTreeSet<_> = back.iter().map(|message| message.body.as_deref().unwrap()).collect();
    assert_eq!(bodies, BTreeSet::from(["a", "b", "c"]));
    assert!(back.iter().all(|message| receives(message) == 1));
    assert!(back.iter().all(|message| !old.contains(message.message_id.as_ref().unwrap())));
}

#[tokio::test]
async fn messages_that_were_sent_to_a_dead_letter_queue_need_a_destination() {
    let sqs = Sqs::start().await;
    let letters = sqs.pair.dead_letter_url.as_str();
    sqs.client.send_message().queue_url(letters).message_body("x").send().await.unwrap();
    sqs.client.start_message_move_task().source_arn(SOURCE).send().await.unwrap();
    let task = sqs.ended_task().await;
    assert_eq!(task.status.as_deref(), Some("FAILED"));
    assert_eq!(task.failure_reason.as_deref(), Some("CouldNotDetermineMessageSource"));
    assert_eq!(sqs.counts(letters).await, [1, 0, 0]);

    let destination = sqs.attribute(sqs.url(), QueueAttributeName::QueueArn).await;
    let start = sqs.client.start_message_move_task().source_arn(SOURCE).destination_arn(destination);
    start.max_number_of_messages_per_second(500).send().await.unwrap();
    assert_eq!(sqs.receive_one(30).await.body.as_deref(), Some("x"));
    assert_eq!(sqs.ended_task().await.status.as_deref(), Some("COMPLETED"));
}

#[tokio::test]
async fn a_task_keeps_to_its_rate_and_ends_when_it_is_cancelled() {
    let sqs = Sqs::start().await;
    let letters = sqs.pair.dead_letter_url.as_str();
    for _ in 0..200 {
        sqs.client.send_message().queue_url(letters).message_body("x").send().await.unwrap();
    }
    let destination = sqs.attribute(sqs.url(), QueueAttributeName::QueueArn).await;
    let start = || {
        let call = sqs.client.start_message_move_task().source_arn(SOURCE).destination_arn(&destination);
        call.max_number_of_messages_per_second(1).send()
    };
    let handle = start().await.unwrap().task_handle.unwrap();
    assert_eq!(code(start().await), "InvalidParameterValue");
    sqs.receive_one(30).await;
    let cancel = || sqs.client.cancel_message_move_task().task_handle(&handle).send();
    let moved = u64::try_from(cancel().await.unwrap().approximate_number_of_messages_moved).unwrap();
    assert!((1..200).contains(&moved), "{moved}");
    assert_eq!(sqs.last_task().await.status.as_deref(), Some("CANCELLED"));
    assert_eq!(sqs.counts(letters).await, [200 - moved, 0, 0]);
    assert_eq!(code(cancel().await), "InvalidParameterValue");
}

#[tokio::test]
async fn only_a_dead_letter_queue_can_be_redriven_to_a_queue_that_exists() {
    let sqs = Sqs::start().await;
    let start = |arn: &str| sqs.client.start_message_move_task().source_arn(arn);
    assert_eq!(code(start(&SOURCE.replace("letters", "logins")).send().await), "InvalidParameterValue");
    let nowhere = SOURCE.replace("letters", "nowhere");
    assert_eq!(code(start(&nowhere).send().await), "ResourceNotFoundException");
    assert_eq!(code(start(SOURCE).destination_arn(&nowhere).send().await), "ResourceNotFoundException");
    let cancel = sqs.client.cancel_message_move_task().task_handle("garbage");
    assert_eq!(code(cancel.send().await), "ResourceNotFoundException");
    let sources = sqs.client.list_dead_letter_source_queues().queue_url(&sqs.pair.dead_letter_url);
    assert_eq!(sources.send().await.unwrap().queue_urls, [sqs.url()]);
}
