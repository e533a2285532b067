//! Redriving a dead-letter queue: tasks that move its messages.

use serde::{Deserialize, Serialize};

use crate::queue::server::call::{Call, missing, within};
use crate::queue::state::{MoveRequest, MoveStatus, MoveTask, SqsError};

const MAX_RATE: i64 = 500;
const MAX_RESULTS: i64 = 10;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Start {
    source_arn: String,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct List {
    source_arn: String,
    max_results: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Cancel {
    task_handle: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Started {
    task_handle: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tasks {
    results: Vec<Listed>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Cancelled {
    approximate_number_of_messages_moved: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    /// Only while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_handle: Option<String>,
    status: &'static str,
    source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_number_of_messages_per_second: Option<u64>,
    approximate_number_of_messages_moved: u64,
    approximate_number_of_messages_to_move: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'static str>,
    started_timestamp: u64,
}

pub(super) fn start(call: &Call<'_>, wanted: Start) -> Result<Started, SqsError> {
    required(&wanted.source_arn, "SourceArn")?;
    let rate = wanted.max_number_of_messages_per_second;
    let rate = rate.map(|rate| within("MaxNumberOfMessagesPerSecond", rate, 1, MAX_RATE)).transpose()?;
    let destination_arn = wanted.destination_arn.filter(|arn| !arn.is_empty());
    let request = MoveRequest { source_arn: wanted.source_arn, destination_arn, rate };
    let task = call.shared.change(|account, now| account.start_move(now, request))?;
    Ok(Started { task_handle: task.id.to_string() })
}

pub(super) fn list(call: &Call<'_>, wanted: List) -> Result<Tasks, SqsError> {
    required(&wanted.source_arn, "SourceArn")?;
    let most = within("MaxResults", wanted.max_results.unwrap_or(1), 1, MAX_RESULTS)?;
    let most = usize::try_from(most).unwrap_or(1);
    call.shared.read(|account| {
        let tasks = account.moves(&wanted.source_arn)?;
        Ok(Tasks { results: tasks.into_iter().take(most).map(Listed::of).collect() })
    })
}

pub(super) fn cancel(call: &Call<'_>, wanted: Cancel) -> Result<Cancelled, SqsError> {
    required(&wanted.task_handle, "TaskHandle")?;
    let moved = call.shared.change(|account, _| account.cancel_move(&wanted.task_handle))?;
    Ok(Cancelled { approximate_number_of_messages_moved: moved })
}

fn required(value: &str, parameter: &str) -> Result<(), SqsError> {
    if value.is_empty() { Err(missing(parameter)) } else { Ok(()) }
}

impl Listed {
    fn of(task: &MoveTask) -> Self {
        let MoveRequest { source_arn, destination_arn, rate } = task.request.clone();
        Self {
            task_handle: task.is_running().then(|| task.id.to_string()),
            status: task.status.name(),
            source_arn,
            destination_arn,
            max_number_of_messages_per_second: rate,
            approximate_number_of_messages_moved: task.moved,
            approximate_number_of_messages_to_move: task.to_move,
            failure_reason: match task.status {
                MoveStatus::Failed(reason) => Some(reason),
                _ => None,
            },
            started_timestamp: task.started,
        }
    }
}
