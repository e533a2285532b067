//! Counts what is in the queues, for the metrics. The counts are SQS's own and approximate.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use tokio::time::MissedTickBehavior;
use veilpost_runtime::Lifecycle;

use crate::max_receives::MaxReceives;
use crate::metrics::{DEAD_LETTER_MESSAGES, QUEUE_MESSAGES};
use crate::outage::CallOutage;
use crate::queue::Queue;
use crate::queue_facts::QueueFacts;

/// More often would be no use: SQS's counts lag behind by up to a minute.
const INTERVAL: Duration = Duration::from_secs(15);

const STATES: [(&str, QueueAttributeName); 3] = [
    ("waiting", QueueAttributeName::ApproximateNumberOfMessages),
    ("hidden", QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
    ("delayed", QueueAttributeName::ApproximateNumberOfMessagesDelayed),
];

/// Counts until the drain, and keeps `max_receives` up to date. While SQS does not answer, both keep what it
/// said last.
pub(crate) async fn watch(
    source: Queue,
    dead_letters: Option<Queue>,
    max_receives: MaxReceives,
    lifecycle: Lifecycle,
) {
    let outage = CallOutage::of(&source, "count the messages");
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = lifecycle.draining() => return,
            _ = ticks.tick() => {}
        }
        match source.attributes().await {
            Ok(attributes) => {
                outage.succeeded();
                max_receives.set(QueueFacts::new(source.url(), &attributes).max_receives());
                for (state, attribute) in STATES {
                    metrics::gauge!(QUEUE_MESSAGES, "state" => state).set(number(&attributes, &attribute));
                }
            }
            Err(problem) => outage.failed(&problem),
        }
        if let Some(queue) = &dead_letters
            && let Ok(attributes) = queue.attributes().await
        {
            metrics::gauge!(DEAD_LETTER_MESSAGES).set(total(&attributes));
        }
    }
}

fn total(attributes: &HashMap<QueueAttributeName, String>) -> f64 {
    STATES.iter().map(|(_, attribute)| number(attributes, attribute)).sum()
}

fn number(attributes: &HashMap<QueueAttributeName, String>, name: &QueueAttributeName) -> f64 {
    attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_delayed_messages_count_and_missing_counts_are_zero() {
        let attributes = HashMap::from([
            (QueueAttributeName::ApproximateNumberOfMessages, "7".to_owned()),
            (QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "2".to_owned()),
        ]);
        let counts = STATES.map(|(_, name)| number(&attributes, &name).to_string());
        assert_eq!(counts, ["7", "2", "0"]);
        assert!((total(&attributes) - 9.0).abs() < f64::EPSILON);
    }
}
