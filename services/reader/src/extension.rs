//! When a message in flight is to be hidden for longer, and when it should have been; pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::MAX_VISIBILITY;
use crate::message::SqsMessage;

/// Clocks and the network are not exact: the last extension ends this much before SQS's own limit.
const MARGIN: Duration = Duration::from_mins(1);

/// Of a visibility timeout, the part after which a message is to be extended.
const DUE: (u32, u32) = (1, 2);

/// … and the part after which its extension is overdue. What is left is longer than any receive takes that
/// begins before, so that no receive is under way when the message becomes visible.
const OVERDUE: (u32, u32) = (5, 8);

/// A message that SQS has refused to extend this often stops receiving: its receives are being used up.
const MAX_LOSSES: u32 = 2;

/// How often messages are looked through for those that are due: often enough that none is overdue only
/// because nobody has looked.
pub(crate) fn beat(visibility: Duration) -> Duration {
    (visibility / 16).clamp(Duration::from_millis(100), Duration::from_secs(5))
}

/// The longest wait of a receive for its first message, in whole seconds: it must end before the message
/// becomes visible whose extension is overdue first.
pub(crate) fn longest_wait(visibility: Duration) -> Duration {
    Duration::from_secs(visibility.saturating_sub(part(visibility, OVERDUE)).as_secs())
}

/// For how long a message is to be hidden from `now` on, in whole seconds. `None` while more than half of its
/// time is left, and when SQS would not extend it.
pub(crate) fn extension(now: Instant, message: &SqsMessage, visibility: Duration) -> Option<Duration> {
    let since = message.hidden_since?;
    if now.duration_since(since) < part(visibility, DUE) {
        return None;
    }
    let left = MAX_VISIBILITY.checked_sub(now.duration_since(message.last_received))?.checked_sub(MARGIN)?;
    let extension = Duration::from_secs(visibility.min(left).as_secs());
    (!extension.is_zero()).then_some(extension)
}

/// From when on nothing may be received because of this message; `None` for never. `max_receives` is after
/// how many receives SQS moves a message to the dead-letter queue.
///
/// A message that SQS has once refused to extend is another receiver's, or comes again soon; it does not stop
/// the others. But if that happens again and again, or its next receive may be its last, its receives must
/// not be used up. Nor does a message stop the others that SQS hides no longer, twelve hours after its
/// receive.
pub(crate) fn overdue_from(
    message: &SqsMessage,
    visibility: Duration,
    max_receives: Option<u32>,
) -> Option<Instant> {
    let Some(since) = message.hidden_since else {
        let few_left = max_receives.is_some_and(|most| message.receive_count.saturating_add(1) >= most);
        return (message.losses >= MAX_LOSSES || few_left).then_some(message.last_received);
    };
    let limit = message.last_received + MAX_VISIBILITY - MARGIN;
    (since + visibility <= limit).then(|| since + part(visibility, OVERDUE))
}

fn part(visibility: Duration, (numerator, denominator): (u32, u32)) -> Duration {
    visibility * numerator / denominator
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::testing::delivered;
    use aws_sdk_sqs::types::Message;
    use proptest::prelude::*;

    const VISIBILITY: Duration = Duration::from_mins(1);

    fn message() -> SqsMessage {
        delivered(Message::builder().message_id("m").receipt_handle("h").build()).message
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn only_messages_hidden_for_half_the_timeout_are_extended() {
        let message = message();
        let at = |after| extension(message.last_received + seconds(after), &message, VISIBILITY);
        assert_eq!(at(29), None);
        assert_eq!(at(30), Some(VISIBILITY));
    }

    #[tokio::test(start_paused = true)]
    async fn an_extended_message_is_due_again_half_a_timeout_later() {
        let mut message = message();
        message.hidden_since = Some(message.last_received + seconds(30));
        let at = |after| extension(message.last_received + seconds(after), &message, VISIBILITY);
        assert_eq!(at(59), None);
        assert_eq!(at(60), Some(VISIBILITY));
    }

    #[tokio::test(start_paused = true)]
    async fn no_extension_reaches_beyond_twelve_hours_after_the_receive() {
        let mut message = message();
        let received = message.last_received;
        for after in (0..MAX_VISIBILITY.as_secs() + 600).step_by(10) {
            let now = received + seconds(after);
            if let Some(extension) = extension(now, &message, VISIBILITY) {
                assert!(seconds(after) + extension < MAX_VISIBILITY);
                assert!(extension >= seconds(1));
                message.hidden_since = Some(now);
            }
        }
        assert_eq!(extension(received + MAX_VISIBILITY, &message, VISIBILITY), None);
        assert_eq!(overdue_from(&message, VISIBILITY, Some(10)), None, "the others go on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_sqs_refused_to_extend_is_not_extended_again() {
        let mut message = message();
        message.hidden_since = None;
        assert_eq!(extension(message.last_received + seconds(3600), &message, VISIBILITY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn regular_beats_leave_no_moment_unhidden_and_nothing_overdue() {
        let mut message = message();
        let mut hidden_until = message.last_received + VISIBILITY;
        for tick in 1..2000 {
            let now = message.last_received + beat(VISIBILITY) * tick;
            assert!(now < hidden_until);
            assert!(overdue_from(&message, VISIBILITY, Some(1)).is_some_and(|overdue| now < overdue));
            if let Some(extension) = extension(now, &message, VISIBILITY) {
                message.hidden_since = Some(now);
                hidden_until = now + extension;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_refusal_stops_nothing_unless_few_receives_are_left_and_a_second_one_does() {
        let lost =
            |losses, receive_count| SqsMessage { hidden_since: None, losses, receive_count, ..message() };
        let stops = |message, most| overdue_from(&message, VISIBILITY, most).is_some();
        assert!(!stops(lost(1, 1), Some(10)) && !stops(lost(1, 8), Some(10)) && !stops(lost(1, 99), None));
        assert!(stops(lost(1, 9), Some(10)) && stops(lost(1, 1), Some(1)) && stops(lost(1, 1), Some(2)));
        assert!(stops(lost(2, 1), Some(10)) && stops(lost(2, 1), None));
    }

    proptest! {
        #[test]
        fn no_receive_waits_until_a_message_becomes_visible(visibility in 2u64..=43_200) {
            let visibility = Duration::from_secs(visibility);
            prop_assert!(part(visibility, OVERDUE) + longest_wait(visibility) <= visibility);
            prop_assert!(part(visibility, DUE) + beat(visibility) < part(visibility, OVERDUE) || visibility < seconds(3));
        }
    }
}
