//! One run of the demo, from nothing to its report.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::sync::watch;

use super::account::{Account, Found, Sent};
use super::dead_letters;
use super::pipeline::{Pipeline, Surroundings};
use super::report::{Latency, Report, rounded};
use super::settings::DemoSettings;
use super::store::Store;
use super::watch::{Progress, admit, until_settled};
use crate::progress::progress;
use veilpost_local::numbers::float;
use veilpost_local::output::say;
use veilpost_local::postgres::{ThrowAwayPostgres, find_or_install};
use veilpost_local::queue::{CREDENTIALS, EmbeddedQueue, QueueClient, QueuePair, REGION, Sender};
use veilpost_writer::connect_options;

const QUEUE: &str = "user-logins";
const ROWS_SHOWN: i64 = 10;

/// Batches on their way at once: enough to keep the queue filled, few enough to leave the processors to the
/// services.
const SEND_CONCURRENCY: usize = 8;

/// Everything that runs. Declared in the order in which it is dropped.
#[derive(Debug)]
pub(super) struct Run {
    pipeline: Pipeline,
    store: Store,
    queue: EmbeddedQueue,
    pair: QueuePair,
    postgres: Option<ThrowAwayPostgres>,
    database_url: String,
    /// The pipeline's name in the ledger: unlike that of any other run.
    name: String,
}

/// What was seen while the messages flowed.
struct Measured {
    sent: Sent,
    started: SystemTime,
    ended: SystemTime,
    progress: Progress,
    rows_before: u64,
}

impl Run {
    /// Runs the demo; what still runs comes back only if it is to be kept. Logs go to `directory`.
    pub(super) async fn to_report(
        settings: &DemoSettings,
        directory: &Path,
    ) -> anyhow::Result<(Option<Self>, Report)> {
        let mut run = Self::start(settings, directory).await?;
        match run.finish(settings).await {
            Ok(report) => Ok((settings.keep.then_some(run), report)),
            Err(error) => Err(run.explained(&error, directory)),
        }
    }

    async fn finish(&mut self, settings: &DemoSettings) -> anyhow::Result<Report> {
        let measured = self.measure(settings).await?;
        let mut report = self.report(&measured).await?;
        if !settings.keep {
            self.pipeline.stop().await?;
        }
        report.set_account(self.account(settings, &measured).await?);
        report.rows = self.store.first_rows(ROWS_SHOWN).await?;
        Ok(report)
    }

    async fn start(settings: &DemoSettings, directory: &Path) -> anyhow::Result<Self> {
        let dead_letter_name = format!("{QUEUE}-dead-letter");
        let given = settings.database_url.as_deref().map(connect_options).transpose();
        let given = given.context("--database-url cannot be used")?;
        let started = EmbeddedQueue::start_with(([127, 0, 0, 1], 0).into(), QUEUE, &dead_letter_name).await;
        let (queue, pair) = started.context("cannot start the queue")?;
        say(&format!("  queue     {}", pair.url));
        let (postgres, database_url) = database(settings).await?;
        let options = given.map_or_else(|| connect_options(&database_url), Ok)?;
        let mut store = Store::open(&options).await?;
        let kind = if postgres.is_some() { "throw-away" } else { "given" };
        say(&format!("  postgres  {} ({kind})", store.version().await?));
        let name = format!("demo-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let around = Surroundings {
            endpoint: &queue.endpoint(),
            queue: &pair,
            database_url: &database_url,
            pipeline: &name,
            directory,
        };
        let mut pipeline = Pipeline::start(&around).await?;
        for (service, admin) in pipeline.admin_addresses().await? {
            say(&format!("  {service:<9} {admin}/metrics"));
        }
        Ok(Self { pipeline, store, queue, pair, postgres, database_url, name })
    }

    /// Sends while the pipeline drains, until every message has been settled.
    async fn measure(&mut self, settings: &DemoSettings) -> anyhow::Result<Measured> {
        let rows_before = self.store.rows().await?;
        let events = settings.mix.events();
        let client = self.queue.client();
        let queue = QueueClient { client: client.clone(), url: self.pair.url.clone() };
        let sender = Sender { queue, concurrency: SEND_CONCURRENCY, rate: None, traced: false };
        let mut sent = Sent::new();
        let bar = progress(settings.messages);
        let (settled, settled_so_far) = watch::channel(0);
        let started = SystemTime::now();
        let sending = sender.send(
            events,
            settings.messages,
            async |number| admit(&settled_so_far, number).await,
            |batch| {
                sent.extend(
                    batch
                        .into_iter()
                        .map(|sent| (sent.message_id, events.shape(sent.number).expected_outcome())),
                );
            },
        );
        let queue = (&client, self.pair.url.as_str());
        let watching = until_settled(&mut self.pipeline, queue, settings.messages, settled, &bar);
        let outcome = tokio::try_join!(sending, watching);
        bar.finish_and_clear();
        let ((), progress) = outcome?;
        let ended = SystemTime::now();
        let ended = self.last_commit().await?.unwrap_or(ended);
        Ok(Measured { sent, started, ended, progress, rows_before })
    }

    /// Only a throw-away Postgres knows: asking costs a scan of the table.
    async fn last_commit(&mut self) -> anyhow::Result<Option<SystemTime>> {
        if self.postgres.is_some() { self.store.last_commit().await } else { Ok(None) }
    }

    /// `error` with the services' own complaints. Postgres's log joins theirs.
    fn explained(self, error: &anyhow::Error, directory: &Path) -> anyhow::Error {
        if let Some(postgres) = &self.postgres {
            std::fs::copy(postgres.log_file(), directory.join("postgres.log")).ok();
        }
        anyhow::anyhow!("{error:#}{}", self.pipeline.problems())
    }

    /// What must be asked while the services still run.
    async fn report(&mut self, measured: &Measured) -> anyhow::Result<Report> {
        let sent = u64::try_from(measured.sent.len())?;
        let seconds =
            measured.ended.duration_since(measured.started).unwrap_or(Duration::ZERO).as_secs_f64().max(1e-3);
        let writer = self.pipeline.writer.metrics().await?;
        Ok(Report {
            sent,
            stored: measured.progress.stored,
            duplicate: measured.progress.duplicate,
            rejected: std::collections::BTreeMap::new(),
            dead_lettered: 0,
            messages_per_second: rounded(float(sent) / seconds),
            latency_ms: Latency::of(&writer.histogram("veilpost_writer_end_to_end_seconds")),
            rss_mib: self.pipeline.memory(),
            seconds: (seconds * 1e3).round() / 1e3,
            accounted: false,
            discrepancies: Vec::new(),
            rows: Vec::new(),
        })
    }

    async fn account(&mut self, settings: &DemoSettings, measured: &Measured) -> anyhow::Result<Account> {
        let client = self.queue.client();
        let found = Found {
            ledger: self.store.ledger_since(measured.started).await?,
            dead_letters: dead_letters::read(&client, &self.pair.dead_letter_url).await?,
            rows: self.store.rows().await?.saturating_sub(measured.rows_before),
            shared_table: settings.database_url.is_some(),
            left_in_queue: dead_letters::count(&client, &self.pair.url).await?,
        };
        Ok(Account::of(&self.name, &measured.sent, &found))
    }

    /// For `--keep`.
    pub(super) fn how_to_look(&self) -> String {
        let database = match &self.postgres {
            Some(_) => format!("psql '{}'", self.database_url),
            None => "psql with the URL that was given".to_owned(),
        };
        let (key, secret) = CREDENTIALS;
        format!(
            "\nStill running, until Ctrl-C:\n  table  {database}\n  queue  {}\n  dead   {}\n  send   \
             AWS_ENDPOINT_URL={} AWS_REGION={REGION} AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} \
             veilpost send --queue {QUEUE}\n  logs   {}",
            self.pair.url,
            self.pair.dead_letter_url,
            self.queue.endpoint(),
            self.pipeline.logs().display(),
        )
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.pipeline.stop().await
    }
}

async fn database(settings: &DemoSettings) -> anyhow::Result<(Option<ThrowAwayPostgres>, String)> {
    if let Some(url) = &settings.database_url {
        return Ok((None, url.clone()));
    }
    let postgres = ThrowAwayPostgres::start(find_or_install(say).await?).await?;
    let url = postgres.url();
    Ok((Some(postgres), url))
}
