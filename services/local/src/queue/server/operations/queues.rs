//! Creating, finding, changing and emptying queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::queue::server::call::{Call, Empty, missing, within};
use crate::queue::state::{Account, SqsError};

const MAX_RESULTS: i64 = 1_000;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Named {
    queue_name: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Located {
    queue_url: String,
    attributes: BTreeMap<String, String>,
    attribute_names: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Listing {
    /// Only for the sources of a dead-letter queue.
    queue_url: String,
    /// Only for all queues.
    queue_name_prefix: String,
    max_results: Option<i64>,
    /// The last queue that the caller has seen.
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Url {
    queue_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Urls {
    queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// SQS begins the name of this list with a small letter.
#[derive(Serialize)]
pub(super) struct SourceUrls {
    #[serde(rename = "queueUrls")]
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) fn create(call: &Call<'_>, queue: Named) -> Result<Url, SqsError> {
    let Named { queue_name, attributes } = queue;
    call.shared.change(|account, now| account.create(now, &queue_name, &attributes))?;
    Ok(Url { queue_url: call.url_of(&queue_name) })
}

pub(super) fn delete(call: &Call<'_>, queue: Located) -> Result<Empty, SqsError> {
    call.change(&queue.queue_url, Account::delete_queue)?;
    Ok(Empty {})
}

pub(super) fn url(call: &Call<'_>, queue: Named) -> Result<Url, SqsError> {
    if queue.queue_name.is_empty() {
        return Err(missing("QueueName"));
    }
    if !call.shared.read(|account| account.exists(&queue.queue_name)) {
        return Err(SqsError::no_queue());
    }
    Ok(Url { queue_url: call.url_of(&queue.queue_name) })
}

pub(super) fn attributes(call: &Call<'_>, queue: Located) -> Result<Attributes, SqsError> {
    let asked = &queue.attribute_names;
    let found = call.change(&queue.queue_url, |account, now, name| account.attributes(now, name, asked));
    Ok(Attributes { attributes: found? })
}

pub(super) fn set_attributes(call: &Call<'_>, queue: Located) -> Result<Empty, SqsError> {
    let attributes = &queue.attributes;
    call.change(&queue.queue_url, |account, now, name| account.set_attributes(now, name, attributes))?;
    Ok(Empty {})
}

pub(super) fn purge(call: &Call<'_>, queue: Located) -> Result<Empty, SqsError> {
    call.change(&queue.queue_url, Account::purge)?;
    Ok(Empty {})
}

pub(super) fn list(call: &Call<'_>, wanted: Listing) -> Result<Urls, SqsError> {
    let prefix = wanted.queue_name_prefix.as_str();
    let names = call.shared.read(|account| {
        account.names().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect::<Vec<_>>()
    });
    let (queue_urls, next_token) = wanted.page(call, names)?;
    Ok(Urls { queue_urls, next_token })
}

pub(super) fn list_sources(call: &Call<'_>, wanted: Listing) -> Result<SourceUrls, SqsError> {
    let names = call.change(&wanted.queue_url, |account, _, name| account.sources_of(name))?;
    let (queue_urls, next_token) = wanted.page(call, names)?;
    Ok(SourceUrls { queue_urls, next_token })
}

impl Listing {
    /// The URLs of sorted names, from the last one that the caller has seen; and the last one of this page,
    /// if there are more.
    fn page(&self, call: &Call<'_>, names: Vec<String>) -> Result<(Vec<String>, Option<String>), SqsError> {
        let most = within("MaxResults", self.max_results.unwrap_or(MAX_RESULTS), 1, MAX_RESULTS)?;
        let most = usize::try_from(most).unwrap_or(1);
        let is_unseen = |name: &String| self.next_token.as_ref().is_none_or(|seen| name > seen);
        let mut names: Vec<_> = names.into_iter().filter(is_unseen).collect();
        let has_more = names.len() > most;
        names.truncate(most);
        let next_token = names.last().filter(|_| has_more).cloned();
        Ok((names.iter().map(|name| call.url_of(name)).collect(), next_token))
    }
}
