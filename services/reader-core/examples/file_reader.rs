//! A source of its own: each line of a file is a message, and the file FILE.settled says how many lines from
//! the start are settled. CONTRIBUTING.md explains it step by step.
//!
//! ```text
//! cargo run -p veilpost-reader-core --example file_reader -- events.ndjson --downstream http://localhost:50051
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use clap::Parser;
use tokio::sync::mpsc;
use tokio::time::Instant;
use veilpost_proto::v1::RawRecord;
use veilpost_reader_core::spans::{self, Destination};
use veilpost_reader_core::{
    Arrival, BatchLimits, Batcher, CompletedDelivery, Delivery, DeliveryNumber, InFlight, KnownRejects,
    RejectedDelivery, Reservation, Settler, Window, WindowLimits,
};
use veilpost_runtime::{
    CommonSettings, Lifecycle, LinkSettings, TlsSettings, ToMasker, numbers, run, run_link,
};

const LIMITS: WindowLimits = WindowLimits {
    messages: 5000,
    bytes: 8 << 20,
    messages_per_receive: 100,
    largest_message_bytes: 1 << 20,
};

/// Sends each line of a file to the maskers
#[derive(Parser)]
struct Settings {
    /// The file to read
    file: PathBuf,

    #[command(flatten)]
    link: LinkSettings,

    #[command(flatten)]
    tls: TlsSettings,

    #[command(flatten)]
    common: CommonSettings,
}

/// The message `M` of this source: what settling it takes. Lines are counted from 0.
struct Line(usize);

/// What the tasks of this source share.
#[derive(Clone)]
struct Source {
    destination: Destination,
    in_flight: Arc<InFlight<Line>>,
    life: Lifecycle,
}

fn main() -> ExitCode {
    let settings = Settings::parse();
    let common = settings.common.clone();
    run("file-reader", &common, ([127, 0, 0, 1], 9104).into(), async |life| read(settings, life).await)
}

async fn read(settings: Settings, life: Lifecycle) -> anyhow::Result<()> {
    veilpost_reader_core::metrics::describe();
    let identity = settings.tls.open(&life)?;
    let name = settings.file.display().to_string();
    let destination = Destination { system: "file", name: name.clone() };
    let source = Source { destination: destination.clone(), in_flight: Arc::default(), life: life.clone() };
    // Every channel has room for everything that can be in flight, so that no task waits for another.
    let (arrivals, arriving) = mpsc::channel(LIMITS.messages);
    let (pending, receipts) = mpsc::channel(LIMITS.messages);
    let (completed, completing) = mpsc::channel(LIMITS.messages);
    let (rejected, rejecting) = mpsc::channel(LIMITS.messages);
    let settler = Settler {
        in_flight: Arc::clone(&source.in_flight),
        completed: completed.clone(),
        rejected: Some(rejected),
        left: None,
        known_rejects: Arc::new(KnownRejects::default()),
        last_receives: None,
        lifecycle: life.clone(),
    };
    life.spawn("receive", source.clone().receive(settings.file.clone(), arrivals));
    life.spawn("settle", async move {
        settler.run(receipts).await;
        Ok(())
    });
    life.spawn("copy rejected lines", source.clone().copy_rejected(rejecting, completed));
    life.spawn("complete", source.complete(settings.file, completing));
    let limits = BatchLimits { records: 1000, bytes: 1 << 20 };
    let outgoing = Batcher::new(name, destination, limits, arriving, pending);
    life.set_ready(true);
    // Ends when `receive` has ended and the last batch has its receipt; then the other tasks end too.
    run_link(ToMasker, outgoing, &settings.link, identity, &life).await
}

impl Source {
    /// Receives what there is room for, until the end of the file or the drain.
    async fn receive(self, file: PathBuf, arrivals: mpsc::Sender<Vec<Arrival>>) -> anyhow::Result<()> {
        let settled = settled(&file).await;
        let text = tokio::fs::read_to_string(&file).await?;
        let sent = tokio::fs::metadata(&file).await?.modified()?.duration_since(UNIX_EPOCH)?;
        let sent_timestamp_ms = numbers::to_i64(sent.as_millis());
        let window = Window::new(LIMITS);
        let mut lines = text.lines().enumerate().skip(settled).peekable();
        while lines.peek().is_some() && !self.life.is_draining() {
            let mut room = window.reserve().await;
            let receive = spans::receive(&self.destination);
            let mut arrived = Vec::new();
            for (number, line) in lines.by_ref().take(room.messages()) {
                let (number, record) = self.remember(line, number, &mut room);
                let record = RawRecord { sent_timestamp_ms, ..record };
                arrived.push(Arrival { number, record, suspect: false, receive: receive.clone() });
            }
            arrivals.send(arrived).await?;
        }
        Ok(())
    }

    /// Message id and sent time must be the same whenever the message is received again: the writer
    /// recognises a stored message by both.
    fn remember(&self, line: &str, number: usize, room: &mut Reservation) -> (DeliveryNumber, RawRecord) {
        let message_id = format!("{}:{number}", self.destination.name);
        let permit = room.permit(line.len());
        let delivery = Delivery::new(message_id.clone(), Line(number), Instant::now(), permit);
        let body = Some(line.to_owned().into());
        (self.in_flight.insert(delivery), RawRecord { message_id, body, ..RawRecord::default() })
    }

    /// A rejected message is completed only once a copy of it is kept. Here the log keeps its number.
    async fn copy_rejected(
        self,
        mut rejecting: mpsc::Receiver<Vec<RejectedDelivery>>,
        completed: mpsc::Sender<Vec<CompletedDelivery>>,
    ) -> anyhow::Result<()> {
        while let Some(rejected) = rejecting.recv().await {
            for delivery in &rejected {
                let line = self.in_flight.with(delivery.number, |delivery| delivery.message.0);
                tracing::warn!(line, reason = delivery.rejection.reason, "copied");
            }
            let copied = rejected.into_iter().map(|one| CompletedDelivery::new(one.number, one.span));
            completed.send(copied.collect()).await?;
        }
        Ok(())
    }

    /// A log is settled by prefix: line 7 counts only when lines 0 to 6 are settled too. A line that is left
    /// stops the prefix, and is read again by the next start.
    async fn complete(
        self,
        file: PathBuf,
        mut completing: mpsc::Receiver<Vec<CompletedDelivery>>,
    ) -> anyhow::Result<()> {
        let mut prefix = settled(&file).await;
        let mut beyond = BTreeSet::new();
        while let Some(completed) = completing.recv().await {
            let numbers: Vec<_> = completed.iter().map(|delivery| delivery.number).collect();
            beyond.extend(self.in_flight.remove(&numbers).iter().map(|delivery| delivery.message.0));
            while beyond.remove(&prefix) {
                prefix += 1;
            }
            tokio::fs::write(file.with_extension("settled"), prefix.to_string()).await?;
        }
        Ok(())
    }
}

/// How many lines from the start are settled.
async fn settled(file: &Path) -> usize {
    let text = tokio::fs::read_to_string(file.with_extension("settled")).await.unwrap_or_default();
    text.parse().unwrap_or_default()
}
