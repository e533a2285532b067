//! Deletes, and changes of visibility.

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry};

use super::{Sqs, code, handle, receives};

#[tokio::test]
async fn only_the_newest_handle_deletes_and_every_handle_of_the_queue_succeeds() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    let (old, new) = (sqs.receive_one(0).await, sqs.receive_one(30).await);
    let delete = |handle| sqs.client.delete_message().queue_url(sqs.url()).receipt_handle(handle).send();
    delete(handle(&old)).await.unwrap();
    assert_eq!(sqs.counts(sqs.url()).await, [0, 1, 0]);
    delete(handle(&new)).await.unwrap();
    assert_eq!(sqs.counts(sqs.url()).await, [0, 0, 0]);
    delete(handle(&new)).await.unwrap();
    delete(handle(&old)).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_visible_again_can_still_be_deleted_until_it_is_received() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    let message = sqs.receive_one(0).await;
    assert_eq!(sqs.counts(sqs.url()).await, [1, 0, 0]);
    let delete = sqs.client.delete_message().queue_url(sqs.url()).receipt_handle(handle(&message));
    delete.send().await.unwrap();
    assert_eq!(sqs.counts(sqs.url()).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_handle_that_the_queue_has_not_given_out_is_invalid() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    let message = sqs.receive_one(30).await;
    let delete = |url, handle| sqs.client.delete_message().queue_url(url).receipt_handle(handle).send();
    assert_eq!(code(delete(sqs.url(), "garbage").await), "ReceiptHandleIsInvalid");
    assert_eq!(code(delete(&sqs.pair.dead_letter_url, handle(&message)).await), "ReceiptHandleIsInvalid");
    let change = sqs.client.change_message_visibility().queue_url(sqs.url()).receipt_handle("garbage");
    assert_eq!(code(change.visibility_timeout(1).send().await), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn visibility_is_changed_only_of_what_is_in_flight_and_for_twelve_hours_at_most() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    let message = sqs.receive_one(30).await;
    let change = |message, seconds| {
        let call = sqs.client.change_message_visibility().queue_url(sqs.url());
        call.receipt_handle(handle(message)).visibility_timeout(seconds).send()
    };
    assert_eq!(code(change(&message, 43_201).await), "InvalidParameterValue");
    assert_eq!(code(change(&message, -1).await), "InvalidParameterValue");
    // Beyond twelve hours since the receive, unless both fall into one millisecond.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(code(change(&message, 43_200).await), "InvalidParameterValue");
    change(&message, 43_100).await.unwrap();
    change(&message, 0).await.unwrap();
    assert_eq!(code(change(&message, 1).await), "MessageNotInflight");

    let again = sqs.receive_one(30).await;
    assert_eq!(receives(&again), 2);
    assert_eq!(code(change(&message, 1).await), "MessageNotInflight");
    sqs.client.delete_message().queue_url(sqs.url()).receipt_handle(handle(&again)).send().await.unwrap();
    assert_eq!(code(change(&again, 1).await), "InvalidParameterValue");
}

#[tokio::test]
async fn entries_of_a_batch_fail_one_by_one() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    let message = sqs.receive_one(30).await;
    let change = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(handle);
        entry.visibility_timeout(60).build().unwrap()
    };
    let call = sqs.client.change_message_visibility_batch().queue_url(sqs.url());
    let call = call.entries(change("good", handle(&message))).entries(change("bad", "garbage"));
    let answer = call.send().await.unwrap();
    assert_eq!((answer.successful.len(), answer.successful[0].id.as_str()), (1, "good"));
    let failed = &answer.failed[0];
    assert_eq!((failed.id.as_str(), failed.code.as_str()), ("bad", "ReceiptHandleIsInvalid"));
    assert!(failed.sender_fault && answer.failed.len() == 1);

    let delete = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let call = sqs.client.delete_message_batch().queue_url(sqs.url());
    let call = call.entries(delete("bad", "garbage")).entries(delete("good", handle(&message)));
    let answer = call.send().await.unwrap();
    assert_eq!((answer.successful.len(), answer.failed.len()), (1, 1));
    assert_eq!(sqs.counts(sqs.url()).await, [0, 0, 0]);

    let same = sqs.client.delete_message_batch().queue_url(sqs.url());
    let same = same.entries(delete("0", "garbage")).entries(delete("0", "garbage"));
    assert_eq!(code(same.send().await), "BatchEntryIdsNotDistinct");
}
