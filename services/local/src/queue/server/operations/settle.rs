//! Deleting messages, and changing how long they are hidden.

use std::borrow::Cow;

use serde::Deserialize;

use super::batch::{BatchAnswer, Entry, Succeeded};
use crate::queue::server::call::{Call, Empty, missing, queue_name, seconds};
use crate::queue::state::{Account, MAX_VISIBILITY_TIMEOUT, Millis, ReceiptHandle, SqsError};

/// A call for one message, or one entry of a batch.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Delivered<'a> {
    /// Not in a batch.
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
    /// Only in a batch.
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    receipt_handle: Cow<'a, str>,
    /// Not for a delete.
    visibility_timeout: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
    #[serde(borrow)]
    entries: Vec<Delivered<'a>>,
}

pub(super) fn delete(call: &Call<'_>, message: Delivered<'_>) -> Result<Empty, SqsError> {
    call.change(&message.queue_url, |account, _, queue| message.delete(account, queue))?;
    Ok(Empty {})
}

pub(super) fn delete_batch(call: &Call<'_>, batch: Batch<'_>) -> Result<BatchAnswer<Succeeded>, SqsError> {
    batch.run(call, |message, account, _, queue| message.delete(account, queue))
}

pub(super) fn change_visibility(call: &Call<'_>, message: Delivered<'_>) -> Result<Empty, SqsError> {
    call.change(&message.queue_url, |account, now, queue| message.change_visibility(account, now, queue))?;
    Ok(Empty {})
}

#[allow(clippy::redundant_closure_for_method_calls, reason = "the method by itself has too few lifetimes")]
pub(super) fn change_visibility_batch(
    call: &Call<'_>,
    batch: Batch<'_>,
) -> Result<BatchAnswer<Succeeded>, SqsError> {
    batch.run(call, |message, account, now, queue| message.change_visibility(account, now, queue))
}

impl Batch<'_> {
    fn run(
        self,
        call: &Call<'_>,
        work: impl Fn(&Delivered<'_>, &mut Account, Millis, &str) -> Result<(), SqsError>,
    ) -> Result<BatchAnswer<Succeeded>, SqsError> {
        let name = queue_name(&self.queue_url)?;
        call.shared.change(|account, now| {
            if !account.exists(name) {
                return Err(SqsError::no_queue());
            }
            BatchAnswer::of(self.entries, |entry| {
                work(&entry, account, now, name)?;
                Ok(Succeeded { id: entry.id.into_owned() })
            })
        })
    }
}

impl Entry for Delivered<'_> {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Delivered<'_> {
    fn handle(&self) -> Result<Option<ReceiptHandle>, SqsError> {
        if self.receipt_handle.is_empty() {
            return Err(missing("ReceiptHandle"));
        }
        Ok(ReceiptHandle::parse(&self.receipt_handle))
    }

    fn delete(&self, account: &mut Account, queue: &str) -> Result<(), SqsError> {
        account.delete(queue, self.handle()?)
    }

    fn change_visibility(&self, account: &mut Account, now: Millis, queue: &str) -> Result<(), SqsError> {
        let most = i64::try_from(MAX_VISIBILITY_TIMEOUT).unwrap_or(i64::MAX);
        let visibility = seconds("VisibilityTimeout", self.visibility_timeout, most)?;
        let visibility = visibility.ok_or_else(|| missing("VisibilityTimeout"))?;
        account.change_visibility(now, queue, self.handle()?, visibility)
    }
}
