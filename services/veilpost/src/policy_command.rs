//! `veilpost policy`: tries a policy on samples before it runs.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use veilpost_local::output::{print, say};
use veilpost_local::table;
use veilpost_masker::{HmacKeys, Policy, Rejected, Trial, TriedColumn, TriedMessage};
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{Attribute, RawRecord, attribute};

#[derive(Args, Clone, Debug)]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    command: PolicySubcommand,
}

#[derive(Clone, Debug, Subcommand)]
enum PolicySubcommand {
    /// Show what becomes of sample messages, without a queue or a database; the exit status is 1 when one of
    /// them is rejected
    ///
    /// Values that the policy copies are shown in clear text. Without keys, hmac-sha512 is shown with keys
    /// that anybody can compute.
    Try(TrySettings),
}

#[derive(Args, Clone, Debug)]
struct TrySettings {
    /// Policy file [default: the built-in policy for user_logins]
    #[arg(long, env = "VEILPOST_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,

    /// File with one message body a line, or one JSON value over several lines; - is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: PathBuf,

    /// The whole file is one message, whatever is in it
    #[arg(long)]
    one: bool,

    /// A message attribute that every message has
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse_attribute)]
    attributes: Vec<Attribute>,

    /// File with the keys of hmac-sha512, one line of id=hex for each; # begins a comment
    #[arg(long, env = "VEILPOST_HMAC_KEYS_FILE", value_name = "FILE")]
    hmac_keys_file: Option<PathBuf>,
}

fn parse_attribute(text: &str) -> Result<Attribute, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok(Attribute { name: name.to_owned(), value: Some(attribute::Value::Text(value.to_owned())) })
}

pub(crate) fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match &command.command {
        PolicySubcommand::Try(settings) => try_policy(settings),
    }
}

fn try_policy(settings: &TrySettings) -> anyhow::Result<ExitCode> {
    let policy = Policy::load(settings.policy.as_deref())?;
    let keys = match &settings.hmac_keys_file {
        Some(file) => {
            let name = file.display().to_string();
            let lines = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
            HmacKeys::parse(&lines.into(), &name)?
        }
        None => HmacKeys::for_trial(&policy),
    };
    let bodies = bodies(read(&settings.file)?, settings.one);
    anyhow::ensure!(!bodies.is_empty(), "{} has no message in it", settings.file.display());
    let rule = policy.conflict_rule();
    let mut trial = Trial::new(policy, &keys)?;
    let (messages, mut rows, mut rejected) = (bodies.len(), 0, 0);
    for (number, body) in (1..).zip(bodies) {
        let tried = trial.apply(&message(number, body, settings), Timestamp::now());
        match &tried {
            Ok(made) => rows += made.len(),
            Err(_) => rejected += 1,
        }
        print(&shown(number, &tried))?;
    }
    if let Some(rule) = rule {
        say(&rule);
    }
    for line in trial.advice() {
        say(&format!("warning: {line}"));
    }
    say(&format!("messages: {messages}, rejected: {rejected}, rows: {rows}"));
    Ok(if rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn message(number: usize, body: Vec<u8>, settings: &TrySettings) -> RawRecord {
    RawRecord {
        message_id: format!("sample-{number}"),
        body: Some(body.into()),
        sent_timestamp_ms: Timestamp::now().as_millisecond(),
        attributes: settings.attributes.clone(),
        ..RawRecord::default()
    }
}

fn read(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The messages in a file: all of it, when it is one JSON value over several lines, and else its lines.
fn bodies(file: Vec<u8>, one: bool) -> Vec<Vec<u8>> {
    let is_json = |bytes: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    let lines: Vec<&[u8]> =
        file.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    let first_is_json = lines.first().is_some_and(|line| is_json(line));
    if one || (!first_is_json && is_json(&file)) {
        return vec![file];
    }
    lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
}

fn shown(number: usize, tried: &Result<TriedMessage, Rejected>) -> String {
    let rows = match tried {
        Err(rejected) => {
            return format!("message {number}: rejected, {}: {}\n", rejected.reason.name(), rejected.detail);
        }
        Ok(rows) if rows.is_empty() => return format!("message {number}: no rows; it would be deleted\n"),
        Ok(rows) => rows,
    };
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let of =
            if rows.len() == 1 { String::new() } else { format!(", row {} of {}", index + 1, rows.len()) };
        text.push_str("message ");
        text.push_str(&number.to_string());
        text.push_str(&of);
        text.push('\n');
        let heading = ["  column", "transform", "value"].map(str::to_owned);
        text.push_str(&table::of_words(std::iter::once(heading).chain(row.iter().map(cells))));
    }
    text
}

fn cells(column: &TriedColumn) -> [String; 3] {
    let value = match &column.value {
        None => "NULL".to_owned(),
        Some(Kind::Text(text)) => format!("{text:?}"),
        // What is JSON may still hold characters that a terminal takes for commands.
        Some(Kind::Number(text) | Kind::Json(text)) => text.replace(char::is_control, " "),
        Some(Kind::Boolean(boolean)) => boolean.to_string(),
    };
    [format!("  {}", column.name), column.transform.to_owned(), value]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_lines_or_one_json_value() {
        let of = |file: &str, one| bodies(file.into(), one).len();
        assert_eq!(of("{\"a\": 1}\n{\"a\": 2}\n\n", false), 2);
        assert_eq!(of("{\n  \"a\": 1\n}\n", false), 1);
        assert_eq!(of("no JSON\nno JSON\n", false), 2);
        assert_eq!(of("{\"a\": 1}\n{\"a\": 2}\n", true), 1);
        assert_eq!(of("\n", false), 0);
        assert_eq!(bodies(b"{}\r\n{}".to_vec(), false)[0], b"{}");
    }

    #[test]
    fn an_attribute_has_a_name_and_a_value() {
        let attribute = parse_attribute("tenant=a=b").unwrap();
        assert_eq!(
            (attribute.name.as_str(), attribute.value),
            ("tenant", Some(attribute::Value::Text("a=b".to_owned())))
        );
        assert!(parse_attribute("tenant").is_err());
    }
}
