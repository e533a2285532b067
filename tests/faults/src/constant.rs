//! Records that the table refuses with the same SQLSTATE each time, which may be anybody's fault: all others
//! are stored, and each of these ends in the dead-letter queue with what is known.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::fault::Fault;
use crate::load::{self, Sent};
use crate::mix::{Message, message};
use crate::pipeline::{PipelineOptions, ProxiedPipeline};
use crate::round::{FaultRound, check, settle};
use crate::tally::Tally;

/// Codes of a record's classes, of none of Postgres's classes, and of others.
const SQLSTATES: [&str; 10] =
    ["U0001", "22012", "22001", "23505", "21000", "2200H", "0A000", "54000", "P0001", "XX001"];

/// The rest of the load: these are stored.
const OTHERS: u64 = 600;

/// Few, so that the last receive comes soon.
const RECEIVES: u32 = 3;

/// Longer than all receives of a message take.
const PATIENCE: Duration = Duration::from_mins(3);

/// The pause between the messages that are sent until all is decided.
const PACE: Duration = Duration::from_millis(500);

/// Sends a load in which one record after the other meets another SQLSTATE. An error is a failure of the
/// harness itself.
pub(crate) async fn run() -> anyhow::Result<FaultRound> {
    let options = PipelineOptions { max_receive_count: RECEIVES, ..PipelineOptions::default() };
    let pipeline = ProxiedPipeline::start(options).await?;
    let mut connection = pipeline.database.connect().await?;
    for sqlstate in SQLSTATES {
        let refuse = format!("INSERT INTO fault.refusal VALUES ('{}', '{sqlstate}')", user(sqlstate));
        sqlx::raw_sql(AssertSqlSafe(refuse)).execute(&mut connection).await?;
    }
    connection.close().await?;
    let (begun, tally) = (Instant::now(), Tally::default());
    let mut sent = load::send_all(&pipeline, messages()).await?;
    let decided = all_decided(&pipeline, &mut sent).await;
    for sqlstate in SQLSTATES {
        tally.note(Fault::Constant(sqlstate), begun, Some(pipeline.database.logged(sqlstate)?));
    }
    let checks = vec![check("every refused record is decided while others are stored", decided)];
    settle(&pipeline, "constant errors".to_owned(), checks, tally.injections(), sent).await
}

/// Sends further messages until all refused records are in the dead-letter queue: commits of other records
/// show that the database works, and without them nothing is decided.
async fn all_decided(pipeline: &ProxiedPipeline, sent: &mut Sent) -> anyhow::Result<()> {
    let begun = Instant::now();
    for number in OTHERS.. {
        let (waiting, hidden) = pipeline.stack().await.depth(&pipeline.pair.dead_letter_url).await?;
        let decided = usize::try_from(waiting + hidden)?;
        if decided >= SQLSTATES.len() {
            break;
        }
        let wanted = SQLSTATES.len();
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{decided} of {wanted} are in the dead-letter queue");
        sent.extend(load::send_all(pipeline, vec![other(number)]).await?);
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

fn other(number: u64) -> Message {
    message(json!({ "user_id": format!("other-{number}") }).to_string(), None)
}

fn user(sqlstate: &str) -> String {
    format!("refused-{sqlstate}")
}

/// The refused records stand among the others.
fn messages() -> Vec<Message> {
    let refused =
        |sqlstate: &&str| message(json!({ "user_id": user(sqlstate) }).to_string(), Some("undecided"));
    let (first, last) = (0..OTHERS / 2, OTHERS / 2..OTHERS);
    first.map(other).chain(SQLSTATES.iter().map(refused)).chain(last.map(other)).collect()
}
