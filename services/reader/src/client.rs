//! The clients of the AWS SDK, with timeouts that fit their calls.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::{self, region::ImdsRegionProvider};
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, StalledStreamProtectionConfig};
use veilpost_runtime::BadSettings;
use veilpost_runtime::telemetry::OutageLog;
use veilpost_sqs::{has_wrong_port, is_plain_and_remote};

use crate::ca_bundle;

/// How long one attempt of a short call may take.
const SHORT: Duration = Duration::from_secs(4);

/// How long the instance's metadata service may take to name the region. It usually takes milliseconds.
const METADATA: Duration = Duration::from_secs(2);

/// How long a long poll may take beyond its wait.
const SLACK: Duration = Duration::from_secs(10);

/// The clients for long polls and for short calls. They differ in timeouts: a long poll normally takes as
/// long as a short call that hangs.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) polls: Client,
    pub(crate) calls: Client,
    /// Where SQS is, for log lines: the endpoint that was given, else the region.
    pub(crate) place: String,
    /// The region that calls are signed for.
    pub(crate) region: String,
    /// Whether an endpoint was given, so that URLs say nothing of regions.
    pub(crate) has_own_endpoint: bool,
    /// Where problems are noted that all calls have alike.
    pub(crate) access: Arc<OutageLog>,
}

/// Region, endpoint and credentials from the SDK's own chain: `AWS_*` variables, profiles, roles. The CAs
/// come from `AWS_CA_BUNDLE`, which the SDK itself does not read.
pub(crate) async fn environment() -> Result<SdkConfig, BadSettings> {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region().await?);
    let loader = match ca_bundle::client()? {
        Some(client) => loader.http_client(client),
        None => loader,
    };
    Ok(loader.load().await)
}

/// The region, in the SDK's own order: variables, profile, the instance's metadata service. It is looked up
/// once and within seconds. The SDK by itself would ask a missing metadata service again for each of its
/// parts.
async fn region() -> Result<Region, BadSettings> {
    let metadata = imds::Client::builder().operation_timeout(METADATA).build();
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(ImdsRegionProvider::builder().imds_client(metadata).build());
    chain.region().await.ok_or_else(no_region)
}

fn no_region() -> BadSettings {
    BadSettings("no AWS region is known; set AWS_REGION".to_owned())
}

impl Clients {
    /// Fails where no region is known, because no call works without one.
    pub(crate) fn new(aws: &SdkConfig, wait: Duration) -> Result<Self, BadSettings> {
        let Some(region) = aws.region() else {
            return Err(no_region());
        };
        let own_endpoint = std::env::var("AWS_ENDPOINT_URL_SQS").ok();
        let place = own_endpoint.or_else(|| aws.endpoint_url().map(str::to_owned));
        let has_own_endpoint = place.is_some();
        let place = place.unwrap_or_else(|| region.to_string());
        check_endpoint_ports()?;
        if is_plain_and_remote(&place) {
            tracing::warn!(
                at = place,
                "SQS is called over http:// on another machine: messages and credentials travel in clear text; use https://"
            );
        }
        let client =
            |attempt: Duration, attempts: u32| Client::from_conf(tuned(aws, attempt, attempts).build());
        Ok(Self {
            polls: client(wait + SLACK, 1),
            calls: client(SHORT, 2),
            place,
            region: region.to_string(),
            has_own_endpoint,
            access: Arc::default(),
        })
    }
}

/// The SDK ignores a URL that it cannot read, and would call AWS itself instead.
fn check_endpoint_ports() -> Result<(), BadSettings> {
    let is_wrong = |variable: &&str| std::env::var(variable).is_ok_and(|url| has_wrong_port(&url));
    match ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"].into_iter().find(is_wrong) {
        Some(wrong) => {
            Err(BadSettings(format!("{wrong} has a port that is not a number between 1 and 65535")))
        }
        None => Ok(()),
    }
}

/// Sets timeouts and retries. Whole attempts have a timeout, so the SDK's watch over stalled streams adds
/// nothing. It is off because it costs time on every call.
fn tuned(aws: &SdkConfig, attempt: Duration, attempts: u32) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * attempts + Duration::from_secs(1));
    let retries =
        RetryConfig::standard().with_max_attempts(attempts).with_max_backoff(Duration::from_millis(500));
    Builder::from(aws)
        .timeout_config(timeouts.build())
        .retry_config(retries)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}
