//! All queues, and what happens between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Code, SqsError};
use super::handle::ReceiptHandle;
use super::message::{Content, Delivery, Message};
use super::move_task::{MoveRequest, MoveStatus, MoveTask};
use super::queue::{Counts, Queue};
use super::settings::{QueueSettings, RedrivePolicy};
use super::{ACCOUNT, Millis, REGION};

/// How long the name of a deleted queue stays taken.
const DELETED_MILLIS: Millis = 60_000;

/// How many ended move tasks are kept for each dead-letter queue.
const ENDED_TASKS: usize = 10;

/// The names of attributes that are counted, not set.
const COUNTED: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

#[derive(Default)]
pub(in crate::queue) struct Account {
    queues: BTreeMap<String, Queue>,
    /// When queues were deleted, by name.
    deleted: BTreeMap<String, Millis>,
    /// In the order of their starts.
    tasks: Vec<MoveTask>,
}

pub(in crate::queue) fn arn_of(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// None for the ARN of anything else than a queue of this account.
pub(in crate::queue) fn name_in_arn(arn: &str) -> Option<&str> {
    let (front, name) = arn.rsplit_once(':')?;
    (front == format!("arn:aws:sqs:{REGION}:{ACCOUNT}")).then_some(name)
}

impl Account {
    /// Creates a queue. One that exists already must have the same values for the attributes that are given.
    pub(in crate::queue) fn create(
        &mut self,
        now: Millis,
        name: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), SqsError> {
        check_name(name)?;
        let mut settings = QueueSettings::default();
        self.set(&mut settings, attributes)?;
        check_kind(name, &settings)?;
        if let Some(known) = self.queues.get(name) {
            return same_attributes(&known.settings, &settings, attributes);
        }
        self.deleted.retain(|_, deleted| now < *deleted + DELETED_MILLIS);
        if self.deleted.contains_key(name) {
            let text = "You must wait 60 seconds after deleting a queue before you can create another with \
                        the same name.";
            return Err(SqsError::new(Code::QueueDeletedRecently, text));
        }
        self.queues.insert(name.to_owned(), Queue::new(settings, now));
        Ok(())
    }

    pub(in crate::queue) fn delete_queue(&mut self, now: Millis, name: &str) -> Result<(), SqsError> {
        self.queues.remove(name).ok_or_else(SqsError::no_queue)?;
        self.deleted.insert(name.to_owned(), now);
        Ok(())
    }

    pub(in crate::queue) fn exists(&self, name: &str) -> bool {
        self.queues.contains_key(name)
    }

    pub(in crate::queue) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(in crate::queue) fn names(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    /// The queues whose dead-letter queue is `name`.
    pub(in crate::queue) fn sources_of(&self, name: &str) -> Result<Vec<String>, SqsError> {
        self.queue(name)?;
        let arn = arn_of(name);
        let sends_there =
            |queue: &Queue| queue.settings.redrive.as_ref().is_some_and(|to| to.target_arn == arn);
        let found = self.queues.iter().filter(|(_, queue)| sends_there(queue));
        Ok(found.map(|(name, _)| name.clone()).collect())
    }

    pub(in crate::queue) fn set_attributes(
        &mut self,
        now: Millis,
        name: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), SqsError> {
        let mut settings = self.queue(name)?.settings.clone();
        self.set(&mut settings, attributes)?;
        check_kind(name, &settings)?;
        let queue = self.queue_mut(name)?;
        (queue.settings, queue.modified) = (settings, now);
        Ok(())
    }

    fn set(&self, to: &mut QueueSettings, attributes: &BTreeMap<String, String>) -> Result<(), SqsError> {
        attributes.iter().try_for_each(|(name, value)| to.set(name, value))?;
        let target = to.redrive.as_ref().map(|policy| &policy.target_arn);
        if target.is_some_and(|arn| !name_in_arn(arn).is_some_and(|name| self.exists(name))) {
            let text =
                "Value for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.";
            return Err(SqsError::new(Code::InvalidParameterValue, text));
        }
        Ok(())
    }

    /// All attributes that a queue has, or those that are asked for.
    pub(in crate::queue) fn attributes(
        &mut self,
        now: Millis,
        name: &str,
        asked: &[String],
    ) -> Result<BTreeMap<String, String>, SqsError> {
        let queue = self.queue_mut(name)?;
        queue.advance(now);
        let is_known = |name: &str| name == "All" || COUNTED.contains(&name) || QueueSettings::is_known(name);
        if let Some(unknown) = asked.iter().find(|name| !is_known(name)) {
            return Err(SqsError::new(Code::InvalidAttributeName, format!("Unknown Attribute {unknown}.")));
        }
        let mut shown = queue.settings.shown();
        shown.extend(counted(name, queue));
        if !asked.iter().any(|name| name == "All") {
            shown.retain(|name, _| asked.contains(name));
        }
        Ok(shown)
    }

    /// Adds a message that becomes visible after `delay` milliseconds, or after the queue's own delay.
    pub(in crate::queue) fn send(
        &mut self,
        now: Millis,
        name: &str,
        content: Content,
        delay: Option<Millis>,
    ) -> Result<Message, SqsError> {
        let queue = self.standard_queue(name)?;
        let most = queue.settings.max_message_size();
        if u64::try_from(content.size()).is_ok_and(|size| size > most) {
            let text = format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
            );
            return Err(SqsError::new(Code::InvalidParameterValue, text));
        }
        let message = Message::new(Arc::new(content));
        let delay = delay.unwrap_or_else(|| queue.settings.delay_millis());
        queue.add(now, now, delay, message.clone());
        Ok(message)
    }

    /// How long a receive of this queue waits if the caller does not say.
    pub(in crate::queue) fn wait_millis(&mut self, name: &str) -> Result<Millis, SqsError> {
        Ok(self.standard_queue(name)?.settings.wait_millis())
    }

    /// Receives up to `most` messages. Those that have used up their receives go to the dead-letter queue
    /// instead. A queue with too many messages in flight gives an error.
    pub(in crate::queue) fn receive(
        &mut self,
        now: Millis,
        name: &str,
        most: usize,
        visibility: Option<Millis>,
    ) -> Result<Vec<Delivery>, SqsError> {
        let policy = self.standard_queue(name)?.settings.redrive.clone();
        let policy = policy.and_then(|policy| Some((name_in_arn(&policy.target_arn)?.to_owned(), policy)));
        // Without a dead-letter queue to move to, a message stays.
        let policy = policy.filter(|(target, _)| self.exists(target));
        let queue = self.queue_mut(name)?;
        queue.advance(now);
        if queue.is_full() {
            let text = "The maximum number of in flight messages is reached.";
            return Err(SqsError::new(Code::OverLimit, text));
        }
        let visibility = visibility.unwrap_or_else(|| queue.settings.visibility_millis());
        let max_receives = policy.as_ref().map(|(_, RedrivePolicy { max_receives, .. })| *max_receives);
        let received = queue.receive(now, most, visibility, max_receives);
        if let Some((target, _)) = policy {
            self.dead_letter(now, name, &target, received.exhausted);
        }
        Ok(received.deliveries)
    }

    /// Moves messages with their ids and sent times.
    fn dead_letter(&mut self, now: Millis, from: &str, to: &str, messages: Vec<(Millis, Message)>) {
        if messages.is_empty() {
            return;
        }
        let source: Arc<str> = arn_of(from).into();
        if let Some(queue) = self.queues.get_mut(to) {
            for (sent, message) in messages {
                queue.add(now, sent, 0, message.dead_lettered(Arc::clone(&source)));
            }
        }
    }

    pub(in crate::queue) fn delete(
        &mut self,
        name: &str,
        handle: Option<ReceiptHandle>,
    ) -> Result<(), SqsError> {
        self.queue_mut(name)?.delete(handle)
    }

    pub(in crate::queue) fn change_visibility(
        &mut self,
        now: Millis,
        name: &str,
        handle: Option<ReceiptHandle>,
        visibility: Millis,
    ) -> Result<(), SqsError> {
        self.queue_mut(name)?.change_visibility(now, handle, visibility)
    }

    pub(in crate::queue) fn purge(&mut self, now: Millis, name: &str) -> Result<(), SqsError> {
        self.queue_mut(name)?.purge(now)
    }

    /// Starts to move the messages that are visible in a dead-letter queue.
    pub(in crate::queue) fn start_move(
        &mut self,
        now: Millis,
        request: MoveRequest,
    ) -> Result<MoveTask, SqsError> {
        let name = self.existing(&request.source_arn, "SourceArn")?.to_owned();
        if let Some(destination) = &request.destination_arn {
            self.existing(destination, "DestinationArn")?;
        }
        if self.sources_of(&name)?.is_empty() {
            let text = "Source queue must be configured as a Dead Letter Queue.";
            return Err(SqsError::new(Code::InvalidParameterValue, text));
        }
        if self.tasks_of(&request.source_arn).any(MoveTask::is_running) {
            let text = "There is already a task running. Only one active task is allowed for a source queue \
                        arn at a given time.";
            return Err(SqsError::new(Code::InvalidParameterValue, text));
        }
        self.forget_old_tasks(&request.source_arn);
        let queue = self.queue_mut(&name)?;
        queue.advance(now);
        let task = MoveTask::new(request, u64::try_from(queue.counts().visible).unwrap_or(u64::MAX), now);
        self.tasks.push(task.clone());
        Ok(task)
    }

    fn forget_old_tasks(&mut self, source_arn: &str) {
        if self.tasks_of(source_arn).count() >= ENDED_TASKS
            && let Some(oldest) = self.tasks.iter().position(|task| task.request.source_arn == source_arn)
        {
            self.tasks.remove(oldest);
        }
    }

    /// The tasks of a dead-letter queue, the latest first.
    pub(in crate::queue) fn moves(&self, source_arn: &str) -> Result<Vec<&MoveTask>, SqsError> {
        self.existing(source_arn, "SourceArn")?;
        Ok(self.tasks_of(source_arn).rev().collect())
    }

    /// Ends a task; what it has moved stays moved.
    pub(in crate::queue) fn cancel_move(&mut self, id: &str) -> Result<u64, SqsError> {
        let task = self.tasks.iter_mut().find(|task| task.id.to_string() == id);
        let task = task.ok_or_else(|| SqsError::new(Code::ResourceNotFound, "Task does not exist."))?;
        if !task.is_running() {
            return Err(SqsError::new(Code::InvalidParameterValue, "Only active tasks can be cancelled."));
        }
        task.status = MoveStatus::Cancelled;
        Ok(task.moved)
    }

    /// Does what is due in all queues, and says when something is due next.
    pub(in crate::queue) fn advance(&mut self, now: Millis) {
        self.queues.values_mut().for_each(|queue| queue.advance(now));
        for index in 0..self.tasks.len() {
            self.step(now, index);
        }
    }

    /// When something is due next.
    pub(in crate::queue) fn next_due(&self, now: Millis) -> Option<Millis> {
        let queues = self.queues.values().filter_map(Queue::next_due);
        queues.chain(self.tasks.iter().filter_map(|task| task.next_due(now))).min()
    }

    /// Whether a receive from this queue would get a message at once.
    pub(in crate::queue) fn can_deliver(&self, name: &str) -> bool {
        self.queues.get(name).is_some_and(Queue::can_deliver)
    }

    /// Moves what one task may move by now.
    fn step(&mut self, now: Millis, index: usize) {
        let Some(mut task) = self.tasks.get(index).filter(|task| task.is_running()).cloned() else { return };
        for _ in 0..task.allowance(now) {
            match self.move_one(now, &task.request) {
                Ok(true) => task.moved += 1,
                Ok(false) => task.status = MoveStatus::Completed,
                Err(reason) => task.status = MoveStatus::Failed(reason),
            }
            if !task.is_running() {
                break;
            }
        }
        if task.is_running() && task.moved == task.to_move {
            task.status = MoveStatus::Completed;
        }
        if let Some(known) = self.tasks.get_mut(index) {
            *known = task;
        }
    }

    /// Moves the next message: it is a new one, with an id and a sent time of its own. False if there is
    /// none.
    fn move_one(&mut self, now: Millis, request: &MoveRequest) -> Result<bool, &'static str> {
        const NO_QUEUE: &str = "AWS.SimpleQueueService.NonExistentQueue";
        const NO_SOURCE: &str = "CouldNotDetermineMessageSource";
        let source = name_in_arn(&request.source_arn).unwrap_or_default();
        let queue = self.queues.get(source).ok_or(NO_QUEUE)?;
        let Some(message) = queue.first_visible() else { return Ok(false) };
        let (content, came_from) = (Arc::clone(&message.content), message.source.clone());
        let arn = request.destination_arn.as_deref().or(came_from.as_deref()).ok_or(NO_SOURCE)?;
        let to = name_in_arn(arn).and_then(|name| self.queues.get_mut(name)).ok_or(NO_QUEUE)?;
        to.add(now, now, 0, Message::new(content));
        if let Some(queue) = self.queues.get_mut(source) {
            queue.remove_first_visible();
        }
        Ok(true)
    }

    fn tasks_of(&self, source_arn: &str) -> impl DoubleEndedIterator<Item = &MoveTask> {
        self.tasks.iter().filter(move |task| task.request.source_arn == source_arn)
    }

    /// The name of the queue that an ARN in a request must name.
    fn existing<'a>(&self, arn: &'a str, parameter: &str) -> Result<&'a str, SqsError> {
        name_in_arn(arn).filter(|name| self.exists(name)).ok_or_else(|| {
            let text =
                format!("The resource that you specified for the {parameter} parameter doesn't exist.");
            SqsError::new(Code::ResourceNotFound, text)
        })
    }

    fn queue(&self, name: &str) -> Result<&Queue, SqsError> {
        self.queues.get(name).ok_or_else(SqsError::no_queue)
    }

    fn queue_mut(&mut self, name: &str) -> Result<&mut Queue, SqsError> {
        self.queues.get_mut(name).ok_or_else(SqsError::no_queue)
    }

    fn standard_queue(&mut self, name: &str) -> Result<&mut Queue, SqsError> {
        if is_fifo_name(name) && self.exists(name) {
            let text = "The embedded queue keeps no order: messages of FIFO queues are not supported.";
            return Err(SqsError::new(Code::UnsupportedOperation, text));
        }
        self.queue_mut(name)
    }
}

fn is_fifo_name(name: &str) -> bool {
    name.strip_suffix(".fifo").is_some()
}

fn check_kind(name: &str, settings: &QueueSettings) -> Result<(), SqsError> {
    if settings.is_fifo() == is_fifo_name(name) {
        return Ok(());
    }
    let text = "The name of a FIFO queue, and of no other, ends in .fifo.";
    Err(SqsError::new(Code::InvalidParameterValue, text))
}

fn check_name(name: &str) -> Result<(), SqsError> {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if stem.is_empty() || name.len() > 80 || !stem.bytes().all(is_allowed) {
        let text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
        return Err(SqsError::new(Code::InvalidParameterValue, text));
    }
    Ok(())
}

fn same_attributes(
    known: &QueueSettings,
    wanted: &QueueSettings,
    given: &BTreeMap<String, String>,
) -> Result<(), SqsError> {
    let (known, wanted) = (known.shown(), wanted.shown());
    match given.keys().find(|name| known.get(*name) != wanted.get(*name)) {
        None => Ok(()),
        Some(name) => {
            let text = format!("A queue already exists with the same name and a different value for {name}");
            Err(SqsError::new(Code::QueueNameExists, text))
        }
    }
}

fn counted(name: &str, queue: &Queue) -> [(String, String); COUNTED.len()] {
    let Counts { visible, hidden, delayed } = queue.counts();
    let seconds = |millis: Millis| (millis / 1000).to_string();
    let values = [
        visible.to_string(),
        delayed.to_string(),
        hidden.to_string(),
        seconds(queue.created),
        seconds(queue.modified),
        arn_of(name),
    ];
    let mut values = values.into_iter();
    COUNTED.map(|name| (name.to_owned(), values.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;

    /// A queue `q` whose messages go to `d` after one receive.
    fn account() -> Account {
        let mut account = Account::default();
        let policy = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":"1"}}"#, arn_of("d"));
        account.create(0, "d", &given("MessageRetentionPeriod", "60")).unwrap();
        account.create(0, "q", &given("RedrivePolicy", &policy)).unwrap();
        account
    }

    fn given(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    fn send(account: &mut Account, now: Millis, queue: &str) {
        account.send(now, queue, Content::new("{}", Vec::new(), None), None).unwrap();
    }

    fn visible(account: &mut Account, now: Millis, queue: &str) -> String {
        let mut shown = account.attributes(now, queue, &["All".to_owned()]).unwrap();
        shown.remove("ApproximateNumberOfMessages").unwrap()
    }

    fn move_from(arn: &str) -> MoveRequest {
        MoveRequest { source_arn: arn.to_owned(), ..MoveRequest::default() }
    }

    #[test]
    fn a_dead_letter_is_kept_for_its_queues_period_counted_from_when_it_was_sent() {
        let mut account = account();
        send(&mut account, 1_000, "q");
        assert_eq!(account.receive(2_000, "q", 1, Some(0)).unwrap().len(), 1);
        assert!(account.receive(30_000, "q", 1, Some(0)).unwrap().is_empty());
        assert_eq!(visible(&mut account, 1_000 + MINUTE, "d"), "1");
        assert_eq!(visible(&mut account, 1_001 + MINUTE, "d"), "0");
    }

    #[test]
    fn without_its_dead_letter_queue_a_message_stays_and_is_received_again() {
        let mut account = account();
        send(&mut account, 0, "q");
        account.delete_queue(0, "d").unwrap();
        for time in 1..5 {
            assert_eq!(account.receive(time, "q", 1, Some(0)).unwrap().len(), 1);
        }
    }

    #[test]
    fn the_name_of_a_deleted_queue_is_free_after_a_minute() {
        let mut account = account();
        account.delete_queue(5, "q").unwrap();
        let create = |account: &mut Account, now| account.create(now, "q", &BTreeMap::new());
        let error = create(&mut account, 4 + MINUTE).unwrap_err();
        assert_eq!(error.code, Code::QueueDeletedRecently);
        create(&mut account, 5 + MINUTE).unwrap();
    }

    #[test]
    fn a_move_goes_on_step_by_step_and_ends_with_the_messages_that_were_there() {
        let mut account = account();
        for _ in 0..1_500 {
            send(&mut account, 0, "d");
        }
        let request = MoveRequest { destination_arn: Some(arn_of("q")), ..move_from(&arn_of("d")) };
        account.start_move(1, request).unwrap();
        assert_eq!(account.next_due(1), Some(1));
        account.advance(1);
        assert_eq!(
            (visible(&mut account, 1, "d"), visible(&mut account, 1, "q")),
            ("500".into(), "1000".into())
        );
        send(&mut account, 1, "d");
        account.advance(2);
        account.advance(3);
        let task = account.moves(&arn_of("d")).unwrap()[0].clone();
        assert_eq!((task.status, task.moved, account.next_due(3)), (MoveStatus::Completed, 1_500, None));
        assert_eq!(visible(&mut account, 3, "d"), "1");
    }

    #[test]
    fn only_the_last_tasks_are_kept() {
        let mut account = account();
        for time in 0..30 {
            account.start_move(time, move_from(&arn_of("d"))).unwrap();
            account.advance(time);
        }
        let kept = account.moves(&arn_of("d")).unwrap();
        assert_eq!((kept.len(), kept[0].started), (ENDED_TASKS, 29));
    }
}
