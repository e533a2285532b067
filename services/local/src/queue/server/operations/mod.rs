//! The operations, by name.

#![allow(clippy::needless_pass_by_value, reason = "an operation owns what its caller has sent")]

mod batch;
mod content;
mod moves;
mod queues;
mod receive;
mod send;
mod settle;

use super::call::Call;
use crate::queue::state::{Code, SqsError};

/// Runs an operation and returns the JSON of its answer.
pub(super) async fn run(operation: &str, call: &Call<'_>) -> Result<Vec<u8>, SqsError> {
    match operation {
        "CancelMessageMoveTask" => call.run(moves::cancel),
        "ChangeMessageVisibility" => call.run(settle::change_visibility),
        "ChangeMessageVisibilityBatch" => call.run(settle::change_visibility_batch),
        "CreateQueue" => call.run(queues::create),
        "DeleteMessage" => call.run(settle::delete),
        "DeleteMessageBatch" => call.run(settle::delete_batch),
        "DeleteQueue" => call.run(queues::delete),
        "GetQueueAttributes" => call.run(queues::attributes),
        "GetQueueUrl" => call.run(queues::url),
        "ListDeadLetterSourceQueues" => call.run(queues::list_sources),
        "ListMessageMoveTasks" => call.run(moves::list),
        "ListQueues" => call.run(queues::list),
        "PurgeQueue" => call.run(queues::purge),
        "ReceiveMessage" => receive::receive(call).await,
        "SendMessage" => call.run(send::send),
        "SendMessageBatch" => call.run(send::send_batch),
        "SetQueueAttributes" => call.run(queues::set_attributes),
        "StartMessageMoveTask" => call.run(moves::start),
        _ => {
            let text = format!("The embedded queue does not support the operation {operation}.");
            Err(SqsError::new(Code::UnsupportedOperation, text))
        }
    }
}
