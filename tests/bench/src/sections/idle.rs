//! One message at a time into an idle pipeline, beside the time that the queue itself takes to wake a long
//! poll.

use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep, timeout};

use crate::bodies::Bodies;
use crate::figures::{Results, quantile};
use crate::replicas::Plan;
use crate::testbed::Testbed;

const PATIENCE: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Longer than it takes until a poll waits at the queue.
const SETTLE: Duration = Duration::from_millis(60);

/// So that sends meet the queue's own rhythm at every phase.
const PHASES: u64 = 37;

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let bodies = Bodies::logins();
    let (read, polled) = (testbed.new_queue().await?, testbed.new_queue().await?);
    let mut replicas = testbed.start_replicas(&Plan { queue_url: read.clone(), ..Plan::default() }).await?;
    testbed.empty_table().await?;
    let (mut through, mut wake_up) = (Vec::new(), Vec::new());
    for number in 0..testbed.settings.idle_messages {
        sleep(Duration::from_millis(number * 11 % PHASES)).await;
        wake_up.push(Box::pin(until_received(testbed, &polled, bodies.of(number))).await?);
        sleep(SETTLE).await;
        through.push(until_stored(testbed, &read, bodies.of(number), number + 1).await?);
    }
    replicas.stop().await?;
    results.checks.equal("rows of single messages", testbed.rows().await?, testbed.settings.idle_messages);
    for (name, q) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        let (through, wake_up) = (quantile(&through, q), quantile(&wake_up, q));
        results.figures.add(&format!("idle.latency-{name}"), "ms", through);
        results.figures.add(&format!("idle.wake-up-{name}"), "ms", wake_up);
        results.figures.add(&format!("idle.above-{name}"), "ms", through - wake_up);
    }
    Ok(())
}

/// Milliseconds from the send until a waiting poll has the message.
async fn until_received(testbed: &Testbed, url: &str, body: &str) -> anyhow::Result<f64> {
    let client = &testbed.queue.client;
    let poll = async {
        let message = client.receive_message().queue_url(url).wait_time_seconds(20).send().await?;
        anyhow::Ok((Instant::now(), message))
    };
    let send = async {
        sleep(SETTLE).await;
        let started = Instant::now();
        client.send_message().queue_url(url).message_body(body).send().await?;
        anyhow::Ok(started)
    };
    let both = Box::pin(async { tokio::try_join!(poll, send) });
    let ((received, answer), started) = timeout(PATIENCE, both).await??;
    let message = answer.messages.unwrap_or_default().pop().context("a poll came back empty")?;
    let delete = client.delete_message().queue_url(url).set_receipt_handle(message.receipt_handle);
    delete.send().await?;
    Ok((received - started).as_secs_f64() * 1e3)
}

/// Milliseconds from the send until another session sees the row.
async fn until_stored(testbed: &mut Testbed, url: &str, body: &str, rows: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    testbed.queue.client.send_message().queue_url(url).message_body(body).send().await?;
    while testbed.rows().await? < rows {
        anyhow::ensure!(started.elapsed() < PATIENCE, "a message was not stored");
        sleep(POLL_INTERVAL).await;
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
