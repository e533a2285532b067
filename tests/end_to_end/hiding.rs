//! Messages that cannot be kept hidden: none is both stored and dead-lettered.

use std::time::Duration;

use sqlx::Connection;
use veilpost_testkit::{SqsFault, SqsFaultProxy, Stack, eventually};

const MESSAGES: i64 = 100;

async fn metric(stack: &mut Stack, name: &str) -> f64 {
    stack.readers.first_mut().unwrap().metrics().await.unwrap().sum(name, &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_extensions_while_the_table_is_locked_leave_nothing_stored_and_dead_lettered() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let proxy = SqsFaultProxy::before(stack.queue.address()).await.unwrap();
    stack.start_reader_at(&proxy.endpoint(), &[("--visibility-timeout", "3s")]).await.unwrap();

    let mut database = stack.database().await.unwrap();
    let mut lock = database.begin().await.unwrap();
    sqlx::query("LOCK TABLE user_logins IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let denied = proxy.arm("ChangeMessageVisibility", SqsFault::Error(403, "AccessDenied"), u64::MAX);
    stack.send_logins("user-", MESSAGES.try_into().unwrap()).await.unwrap();
    let stopped = async || match metric(&mut stack, "veilpost_reader_receiving_stopped").await {
        stopped if stopped > 0.5 => Ok(()),
        other => Err(format!("{other}")),
    };
    eventually("receiving stops", stopped).await.unwrap();
    let (received, calls) = (proxy.handles().len(), proxy.calls("ChangeMessageVisibilityBatch"));
    // Ten visibility timeouts: the embedded queue moves a message after ten receives.
    tokio::time::sleep(Duration::from_secs(33)).await;
    assert!(metric(&mut stack, "veilpost_reader_in_flight_messages").await <= 100.0);
    assert_eq!(proxy.handles().len(), received, "nothing was received while extensions failed");
    let calls = proxy.calls("ChangeMessageVisibilityBatch") - calls;
    assert!(calls < 60, "{calls} attempts to extend in 33 s");

    lock.rollback().await.unwrap();
    denied.disarm();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), MESSAGES);
    assert_eq!(stack.depth(&stack.pair.dead_letter_url).await.unwrap(), (0, 0));
    stack.stop().await.unwrap();
}
