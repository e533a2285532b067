//! A reader between the embedded queue and a scripted masker.

use std::time::Duration;

use clap::Parser;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use veilpost_reader::{Reader, Settings};
use veilpost_runtime::Lifecycle;

use crate::masker::ScriptedMasker;
use crate::sqs::Sqs;

/// The longest time that anything in these tests takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct ReaderHarness {
    pub(crate) sqs: Sqs,
    pub(crate) masker: ScriptedMasker,
    /// The source's URL.
    pub(crate) url: String,
    /// The dead-letter queue's URL.
    pub(crate) dead: String,
    pub(crate) lifecycle: Lifecycle,
    reader: JoinSet<anyhow::Result<()>>,
}

impl ReaderHarness {
    /// Creates the queues `logins` and `logins-dead`; the reader is not started yet.
    pub(crate) async fn new(masker: ScriptedMasker) -> Self {
        let sqs = Sqs::start().await;
        let (url, dead) = (sqs.create("logins").await, sqs.create("logins-dead").await);
        Self { sqs, masker, url, dead, lifecycle: Lifecycle::for_tests(), reader: JoinSet::new() }
    }

    /// Starts the reader with polls of one second; the flags in `more` replace the defaults.
    pub(crate) fn read(&mut self, more: &[&str]) {
        self.read_as(settings(&format!("http://{}", self.masker.address), more));
    }

    pub(crate) fn read_as(&mut self, settings: Settings) {
        let (aws, lifecycle) = (self.sqs.aws.clone(), self.lifecycle.clone());
        self.reader.spawn(async move { Reader::new(settings)?.run_with(&aws, lifecycle).await });
    }

    /// Waits for the reader, and all its tasks, to end by themselves.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let result =
            timeout(PATIENCE, self.reader.join_next()).await.expect("the reader ends").unwrap().unwrap();
        self.lifecycle.tasks_ended().await;
        result
    }

    pub(crate) async fn drain(&mut self) {
        self.lifecycle.start_drain();
        self.ended().await.unwrap();
    }

    /// Waits until the source has these numbers of visible and hidden messages.
    pub(crate) async fn source_has(&self, visible: usize, hidden: usize) {
        self.has(&self.url, (visible, hidden)).await;
    }

    /// Waits until the receives have brought this many messages in all.
    pub(crate) async fn receives_bring(&self, messages: usize) {
        eventually("enough deliveries", || self.sqs.deliveries() >= messages).await;
    }

    /// Waits until the dead-letter queue has this many messages.
    pub(crate) async fn dead_has(&self, visible: usize) {
        self.has(&self.dead, (visible, 0)).await;
    }

    async fn has(&self, url: &str, expected: (usize, usize)) {
        let deadline = Instant::now() + PATIENCE;
        let mut found = self.sqs.counts(url).await;
        while found != expected {
            assert!(Instant::now() < deadline, "{url} has {found:?}, not {expected:?}");
            sleep(Duration::from_millis(20)).await;
            found = self.sqs.counts(url).await;
        }
    }
}

pub(crate) fn settings(downstream: &str, more: &[&str]) -> Settings {
    let given = |flag: &str| more.contains(&flag);
    let defaults = [
        ("--queue", "logins"),
        ("--dead-letter-queue-url", "logins-dead"),
        ("--wait-time", "1s"),
        ("--pollers-min", "2"),
        ("--downstream", downstream),
    ];
    let defaults = defaults.iter().filter(|(flag, _)| !given(flag)).flat_map(|(flag, value)| [*flag, *value]);
    let arguments = std::iter::once("veilpost-reader").chain(defaults).chain(more.iter().copied());
    Settings::try_parse_from(arguments).unwrap()
}

/// Waits until `reached` holds.
pub(crate) async fn eventually(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
