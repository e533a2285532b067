//! The reader's settings.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use veilpost_proto::MAX_BATCH_BYTES;
use veilpost_reader_core::BatchLimits;
use veilpost_runtime::{
    BadSettings, CommonSettings, LinkSettings, TlsSettings, numbers, parse_address, parse_bytes,
    parse_duration,
};

use crate::extension::longest_wait;
use crate::limits::{MAX_ENTRIES, MAX_VISIBILITY, MAX_WAIT};

/// Receives messages from Amazon SQS, sends them to the masker, and deletes or dead-letters each one once its
/// outcome is known.
///
/// Region, endpoint and credentials come from the AWS SDK's own chain: AWS_REGION, AWS_ENDPOINT_URL,
/// AWS_ACCESS_KEY_ID, AWS_PROFILE and so on. AWS_CA_BUNDLE names a PEM file with the CAs to trust instead of
/// the system's.
#[derive(Parser, Clone, Debug)]
#[command(name = "veilpost-reader", version = veilpost_version::VERSION)]
pub struct Settings {
    /// Queue to read, by name or URL; FIFO queues are refused
    #[arg(long, env = "VEILPOST_QUEUE", value_name = "NAME|URL", help_heading = "Queue")]
    pub queue: String,

    /// Queue for rejected messages, by name or URL
    #[arg(long, env = "VEILPOST_DEAD_LETTER_QUEUE_URL", value_name = "NAME|URL", help_heading = "Queue")]
    pub dead_letter_queue_url: Option<String>,

    /// What happens to rejected messages: "leave" keeps them in the queue, where they are delivered again
    /// until the queue's retention deletes them or its RedrivePolicy moves them
    #[arg(long, env = "VEILPOST_ON_REJECT", default_value = "dead-letter", help_heading = "Queue")]
    pub on_reject: OnReject,

    /// Name of the pipeline in the ledger's keys; do not change it while messages are in the queue [default:
    /// the queue's name]
    #[arg(long, env = "VEILPOST_PIPELINE", value_name = "NAME", help_heading = "Queue")]
    pub pipeline: Option<String>,

    /// Minimum concurrent receives; this many long polls stay open on an empty queue
    #[arg(long, env = "VEILPOST_POLLERS_MIN", default_value = "1", value_name = "CALLS", help_heading = "Queue",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pollers_min: u16,

    /// Maximum concurrent receives; the number follows the load, and they never ask for more messages than
    /// the window has room for
    #[arg(long, env = "VEILPOST_POLLERS_MAX", default_value = "64", value_name = "CALLS", help_heading = "Queue",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pollers_max: u16,

    /// How long a receive waits for a first message, up to 20s; at most half the grace period and three
    /// eighths of the visibility timeout
    #[arg(long, env = "VEILPOST_WAIT_TIME", default_value = "10s", value_parser = parse_duration,
          value_name = "DURATION", help_heading = "Queue")]
    pub wait_time: Duration,

    /// How long a message stays hidden after its receive, 2s to 12h; extended while the message is in flight
    #[arg(long, env = "VEILPOST_VISIBILITY_TIMEOUT", default_value = "60s", value_parser = parse_duration,
          value_name = "DURATION", help_heading = "Queue")]
    pub visibility_timeout: Duration,

    /// Maximum concurrent batch deletes; the number follows the load
    #[arg(long, env = "VEILPOST_DELETES_MAX", default_value = "64", value_name = "CALLS", help_heading = "Queue",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub deletes_max: u16,

    /// Maximum messages in flight
    #[arg(long, env = "VEILPOST_WINDOW_MESSAGES", default_value = "5000", value_name = "MESSAGES",
          help_heading = "Memory", value_parser = clap::value_parser!(u32).range(1..=120_000))]
    pub window_messages: u32,

    /// Maximum bytes of messages in flight; one round of receives may exceed it when messages suddenly grow
    #[arg(long, env = "VEILPOST_WINDOW_BYTES", default_value = "8MiB", value_parser = parse_bytes,
          value_name = "BYTES", help_heading = "Memory")]
    pub window_bytes: usize,

    /// Maximum records in a batch to the masker
    #[arg(long, env = "VEILPOST_BATCH_RECORDS", default_value = "1000", value_name = "RECORDS",
          help_heading = "Batches", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_records: u32,

    /// Maximum bytes in a batch to the masker, up to 2MiB; a larger record is sent alone
    #[arg(long, env = "VEILPOST_BATCH_BYTES", default_value = "1MiB", value_parser = parse_bytes,
          value_name = "BYTES", help_heading = "Batches")]
    pub batch_bytes: usize,

    /// A message delivered more often than this is a suspect: it shares no batch with other messages, because
    /// it may be what crashes the services
    #[arg(
        long,
        env = "VEILPOST_SUSPECT_AFTER",
        default_value = "3",
        value_name = "DELIVERIES",
        help_heading = "Batches"
    )]
    pub suspect_after: u32,

    /// Address of the HTTP server for /livez, /readyz and /metrics
    #[arg(
        long,
        env = "VEILPOST_ADMIN_ADDRESS",
        value_parser = parse_address,
        default_value = "127.0.0.1:9101",
        value_name = "ADDRESS",
        help_heading = "Process"
    )]
    pub admin_address: SocketAddr,

    #[command(flatten)]
    pub tls: TlsSettings,

    #[command(flatten)]
    pub link: LinkSettings,

    #[command(flatten)]
    pub common: CommonSettings,
}

/// What happens to rejected messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnReject {
    DeadLetter,
    Leave,
}

impl Settings {
    /// Fails where a setting can never work.
    pub(crate) fn check(&self) -> Result<(), BadSettings> {
        self.link.check(&self.tls)?;
        let min_visibility = Duration::from_secs(2);
        let problems = [
            (self.queue.is_empty(), "--queue is empty"),
            (is_arn(&self.queue), "--queue is an ARN; give the queue's name or URL"),
            (
                self.dead_letter_queue_url.as_deref().is_some_and(is_arn),
                "--dead-letter-queue-url is an ARN; give the queue's name or URL",
            ),
            (self.pipeline.as_ref().is_some_and(String::is_empty), "--pipeline is empty"),
            (self.wait_time > MAX_WAIT, "--wait-time is longer than SQS's 20s"),
            (self.visibility_timeout < min_visibility, "--visibility-timeout is shorter than 2s"),
            (self.visibility_timeout > MAX_VISIBILITY, "--visibility-timeout is longer than SQS's 12h"),
            (self.pollers_min > self.pollers_max, "--pollers-min is more than --pollers-max"),
            (self.window_bytes == 0, "--window-bytes is zero"),
            (self.batch_bytes == 0, "--batch-bytes is zero"),
            (self.batch_bytes > MAX_BATCH_BYTES / 3 * 2, "--batch-bytes is larger than 2MiB"),
        ];
        match problems.into_iter().find(|(found, _)| *found) {
            Some((_, problem)) => Err(BadSettings(problem.to_owned())),
            None => Ok(()),
        }
    }

    /// How long a receive waits, in SQS's whole seconds. A drain awaits the receives under way, so they must
    /// not take up the whole grace period. And none may wait until a message in flight becomes visible.
    pub(crate) fn wait(&self) -> Duration {
        let wait = self.wait_time.min(self.common.grace_period / 2).min(longest_wait(self.visibility()));
        Duration::from_secs(wait.as_secs())
    }

    /// The visibility timeout, in SQS's whole seconds.
    pub(crate) fn visibility(&self) -> Duration {
        Duration::from_secs(self.visibility_timeout.as_secs())
    }

    pub(crate) fn batch_limits(&self) -> BatchLimits {
        BatchLimits { records: numbers::to_usize(self.batch_records), bytes: self.batch_bytes }
    }

    /// The minimum and maximum of concurrent receives, and never more than the window can have room for.
    pub(crate) fn pollers(&self) -> (usize, usize) {
        let room = self.window_messages().div_ceil(MAX_ENTRIES);
        let within = |calls: u16| usize::from(calls).min(room);
        (within(self.pollers_min), within(self.pollers_max))
    }

    pub(crate) fn window_messages(&self) -> usize {
        numbers::to_usize(self.window_messages)
    }
}

fn is_arn(name: &str) -> bool {
    name.starts_with("arn:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn settings(more: &[&str]) -> Settings {
        let least = ["veilpost-reader", "--queue", "q", "--downstream", "http://masker:50051"];
        Settings::try_parse_from(least.iter().chain(more)).unwrap()
    }

    fn refusal(more: &[&str]) -> String {
        settings(more).check().unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_consistent_and_the_defaults_are_good() {
        Settings::command().debug_assert();
        settings(&[]).check().unwrap();
    }

    #[test]
    fn every_flag_has_a_variable_of_its_own_name() {
        for argument in Settings::command().get_arguments().filter(|argument| argument.get_long().is_some()) {
            let flag = argument.get_long().unwrap();
            if flag != "help" && flag != "version" {
                let expected = format!("VEILPOST_{}", flag.to_uppercase().replace('-', "_"));
                assert_eq!(argument.get_env().unwrap().to_str().unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_can_never_work_is_refused_by_name() {
        assert!(refusal(&["--wait-time", "21s"]).contains("--wait-time"));
        assert!(refusal(&["--visibility-timeout", "1s"]).contains("--visibility-timeout"));
        assert!(refusal(&["--visibility-timeout", "13h"]).contains("--visibility-timeout"));
        assert!(refusal(&["--batch-bytes", "3MiB"]).contains("--batch-bytes"));
        assert!(refusal(&["--pipeline", ""]).contains("--pipeline"));
        let arn = "arn:aws:sqs:eu-west-1:123456789012:logins";
        let by_arn = Settings { queue: arn.to_owned(), ..settings(&[]) };
        assert!(by_arn.check().unwrap_err().to_string().contains("--queue is an ARN"));
        assert!(refusal(&["--dead-letter-queue-url", arn]).contains("--dead-letter-queue-url is an ARN"));
        assert!(refusal(&["--pollers-min", "9", "--pollers-max", "8"]).contains("--pollers-max"));
    }

    #[test]
    fn there_are_never_more_receives_than_the_window_has_room_for() {
        assert_eq!(settings(&[]).pollers(), (1, 64));
        assert_eq!(settings(&["--window-messages", "25", "--pollers-min", "5"]).pollers(), (3, 3));
    }

    #[test]
    fn a_poll_takes_at_most_half_the_grace_period_and_ends_before_a_message_becomes_visible() {
        assert_eq!(settings(&["--grace-period", "9s"]).wait(), Duration::from_secs(4));
        assert_eq!(settings(&[]).wait(), Duration::from_secs(10));
        assert_eq!(settings(&["--visibility-timeout", "3s"]).wait(), Duration::from_secs(1));
    }
}
