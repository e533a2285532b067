//! Records that the table refuses with the same SQLSTATE each time, which may be anybody's fault: all others
//! are stored, and each of these ends in the dead-letter queue with what is known.

use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::load;
use crate::mix::{Message, message};
use crate::pipeline::{PipelineOptions, ProxiedPipeline};
use crate::round::{Check, account, check, checks_of, no_panic, unchanged};

/// Codes of a record's classes, of none of Postgres's classes, and of others.
const SQLSTATES: [&str; 10] =
    ["U0001", "22012", "22001", "23505", "21000", "2200H", "0A000", "54000", "P0001", "XX001"];

/// The rest of the load: these are stored.
const OTHERS: u64 = 600;

/// Few, so that the last receive comes soon.
const RECEIVES: u32 = 3;

/// Longer than all receives of a message take.
const STANDSTILL: Duration = Duration::from_mins(3);

/// Sends a load in which one record after the other meets another SQLSTATE. An error is a failure of the
/// harness itself.
pub(crate) async fn run() -> anyhow::Result<Vec<Check>> {
    let options = PipelineOptions { max_receive_count: RECEIVES, ..PipelineOptions::default() };
    let pipeline = ProxiedPipeline::start(options).await?;
    let mut connection = pipeline.database.connect().await?;
    for sqlstate in SQLSTATES {
        let refuse = format!("INSERT INTO fault.refusal VALUES ('{}', '{sqlstate}')", user(sqlstate));
        sqlx::raw_sql(AssertSqlSafe(refuse)).execute(&mut connection).await?;
    }
    connection.close().await?;
    let sent = load::send_all(&pipeline, messages()).await?;
    // Commits of other records show that the database works; without them nothing would be decided.
    let drained = async {
        let drained = pipeline.drained(STANDSTILL).await;
        drained.map(|_| ())
    };
    let mut checks = vec![check("the queue drains, nothing stays hidden", drained.await)];
    let account = account(&pipeline, &sent).await?;
    checks.extend(checks_of(&account));
    checks.push(check("every process exits with 0 on SIGTERM", pipeline.terminate().await));
    checks.push(check("nothing changes while the processes end", unchanged(&pipeline, &account).await));
    checks.push(check("no process panics", no_panic(&pipeline).await));
    if checks.iter().any(|check| check.result.is_err()) {
        pipeline.keep_logs(0).await?;
    }
    Ok(checks)
}

fn user(sqlstate: &str) -> String {
    format!("refused-{sqlstate}")
}

/// The refused records stand among the others.
fn messages() -> Vec<Message> {
    let other = |number| message(json!({ "user_id": format!("other-{number}") }).to_string(), None);
    let refused =
        |sqlstate: &&str| message(json!({ "user_id": user(sqlstate) }).to_string(), Some("undecided"));
    let (first, last) = (0..OTHERS / 2, OTHERS / 2..OTHERS);
    first.map(other).chain(SQLSTATES.iter().map(refused)).chain(last.map(other)).collect()
}
