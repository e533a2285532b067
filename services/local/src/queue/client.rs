//! A client for the embedded queue that needs no settings.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, StalledStreamProtectionConfig};

pub use super::state::REGION;

/// Access key and secret that clients sign with; the embedded queue accepts any.
pub const CREDENTIALS: (&str, &str) = ("veilpost", "veilpost");

/// A client for the embedded queue at `endpoint`. It reads neither environment nor files. The SDK's
/// stalled-stream protection is off, because it costs time on every call.
pub fn client_for(endpoint: &str) -> Client {
    let (key, secret) = CREDENTIALS;
    let settings = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(key, secret, None, None, "embedded queue"))
        .endpoint_url(endpoint)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(settings)
}
