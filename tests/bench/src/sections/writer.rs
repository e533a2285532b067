//! The writer fed over gRPC, compared with a bare loop of its own statement, and with COPY of the same rows.

use std::fmt::Write;
use std::time::Instant;

use futures_util::future::try_join_all;
use sqlx::{Connection, PgConnection};
use tonic::transport::Channel;
use veilpost_local::numbers::float;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::writer_client::WriterClient;
use veilpost_proto::v1::{MaskedBatch, Value};

use super::ledger::{CONNECTIONS, bare_loop};
use super::peers::exchange;
use crate::bodies::{masked_batches, target};
use crate::cpu::cpu_of;
use crate::figures::Results;
use crate::replicas::Plan;
use crate::testbed::Testbed;

/// Rows in one COPY: enough to make the pause that sqlx 0.9.0 makes at its end not matter.
const COPY_ROWS: u64 = 50_000;

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    // In the first run Postgres creates the files of its write-ahead log; later runs reuse them.
    bare_loop(testbed, results, true).await?;
    for _ in 0..testbed.settings.repetitions {
        let service = service(testbed, results).await?;
        let bare = bare_loop(testbed, results, true).await?;
        let copy = copy(testbed, results).await?;
        results.figures.add("writer.rate", "rows/s", service);
        results.figures.add("writer.bare", "rows/s", bare.rate);
        results.figures.add("writer.copy", "rows/s", copy);
        results.figures.add("writer.ratio", "ratio", service / bare.rate);
    }
    Ok(())
}

/// One writer process with as many maskers that are played here as it has connections; rows a second.
async fn service(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<f64> {
    let mut replicas = testbed.start_replicas(&Plan { readers: 0, maskers: 0, ..Plan::default() }).await?;
    let writer = replicas.writers.first_mut().ok_or_else(|| anyhow::anyhow!("no writer"))?;
    let uri = format!("http://{}", writer.grpc_address().await?);
    let rows = testbed.settings.rows;
    let mut shares = vec![Vec::new(); CONNECTIONS];
    for (number, batch) in masked_batches(rows, testbed.settings.batch).into_iter().enumerate() {
        if let Some(share) = shares.get_mut(number % CONNECTIONS) {
            share.push(batch);
        }
    }
    let mut maskers = Vec::new();
    for share in shares.into_iter().filter(|share| !share.is_empty()) {
        maskers.push((WriterClient::connect(uri.clone()).await?, share));
    }
    testbed.checkpoint().await?;
    let (rows_before, writer_before) = (testbed.rows().await?, replicas.cpu()?.writer);
    let postgres_before = cpu_of(testbed.postgres.pid())?;
    let started = Instant::now();
    let stored = try_join_all(maskers.into_iter().map(|(client, share)| store(client, share))).await?;
    let stored = stored.into_iter().sum();
    let seconds = started.elapsed().as_secs_f64();
    let writer = replicas.cpu()?.writer - writer_before;
    let postgres = cpu_of(testbed.postgres.pid())? - postgres_before;
    results.checks.equal("rows that the writer says are stored", stored, rows);
    results.checks.equal("rows that the writer has stored", testbed.rows().await? - rows_before, rows);
    results.figures.add("writer.cpu", "µs", writer * 1e6 / float(rows));
    results.figures.add("writer.postgres-cpu", "µs", postgres * 1e6 / float(rows));
    replicas.stop().await?;
    Ok(float(rows) / seconds)
}

/// Sends batches over a stream of their own; how many records were stored.
async fn store(mut client: WriterClient<Channel>, batches: Vec<MaskedBatch>) -> anyhow::Result<u64> {
    let opening = MaskedBatch { target: Some(target()), ..MaskedBatch::default() };
    exchange(batches, async |stream| {
        let stream = futures_util::StreamExt::chain(tokio_stream::once(opening), stream);
        Ok(client.write(stream).await?.into_inner())
    })
    .await
}

/// Rows a second over as many connections as the writer has.
async fn copy(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<f64> {
    let rows = testbed.settings.rows;
    let batches = masked_batches(rows, COPY_ROWS.min(rows.div_ceil(2)));
    let texts: Vec<String> = batches.iter().map(copy_text).collect::<Result<_, _>>()?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(PgConnection::connect(&testbed.postgres.url()).await?);
    }
    let before = testbed.rows().await?;
    testbed.checkpoint().await?;
    let started = Instant::now();
    let next = parking_lot::Mutex::new(texts.into_iter());
    let take = || next.lock().next();
    try_join_all(connections.iter_mut().map(|connection| copy_all(connection, take))).await?;
    let seconds = started.elapsed().as_secs_f64();
    results.checks.equal("rows of COPY", testbed.rows().await? - before, rows);
    Ok(float(rows) / seconds)
}

async fn copy_all(
    connection: &mut PgConnection,
    mut take: impl FnMut() -> Option<String>,
) -> anyhow::Result<()> {
    while let Some(text) = take() {
        let mut copy = connection.copy_in_raw("COPY user_logins FROM STDIN").await?;
        copy.send(text.into_bytes()).await?;
        copy.finish().await?;
    }
    Ok(())
}

/// COPY's text format; the values have nothing in them that it would quote.
fn copy_text(batch: &MaskedBatch) -> anyhow::Result<String> {
    let mut text = String::new();
    for record in batch.decoded()? {
        for (index, value) in record.values.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\t" };
            write!(text, "{separator}{}", plain(value)).ok();
        }
        text.push('\n');
    }
    Ok(text)
}

fn plain(value: &Value) -> &str {
    match &value.kind {
        Some(Kind::Text(text) | Kind::Number(text) | Kind::Json(text)) => text,
        Some(Kind::Boolean(boolean)) => {
            if *boolean {
                "t"
            } else {
                "f"
            }
        }
        None => "\\N",
    }
}
