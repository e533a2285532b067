//! Snapshots of what people read on a command line: help, and the errors of settings that cannot work.
//!
//! After a change of such a text, this writes the snapshots again; read the difference before you commit it:
//!
//!     INSTA_UPDATE=always cargo test -p veilpost-tests --test command_lines

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod policy_try;

use std::process::{Command, Output, Stdio};

use veilpost_testkit::binary;

/// Every command that has a help text.
const COMMANDS: [&[&str]; 12] = [
    &["veilpost"],
    &["veilpost", "demo"],
    &["veilpost", "send"],
    &["veilpost", "policy"],
    &["veilpost", "policy", "try"],
    &["veilpost", "certificates"],
    &["veilpost", "queue"],
    &["veilpost", "dead-letters"],
    &["veilpost-reader"],
    &["veilpost-masker"],
    &["veilpost-writer"],
    &["veilpost-writer", "migrate"],
];

/// Mistakes that people make, by the name of their snapshot.
const MISTAKES: [(&str, &[&str]); 11] = [
    ("unknown-command", &["veilpost", "dmo"]),
    ("share-above-one", &["veilpost", "send", "--queue", "q", "--odd", "2"]),
    ("mistyped-option", &["veilpost-reader", "--quee", "logins"]),
    ("bad-duration", &["veilpost-reader", "--visibility-timeout", "30 bananas"]),
    ("unknown-log-level", &["veilpost-masker", "--log", "verbose"]),
    ("log-of-a-library", &["veilpost-writer", "--log", "info,sqlx=debug"]),
    ("no-queue", &["veilpost-reader", "--downstream", "http://masker:50051"]),
    (
        "downstream-without-port",
        &["veilpost-masker", "--admin-address", "127.0.0.1:0", "--downstream", "http://writer"],
    ),
    ("no-downstream", &["veilpost-masker"]),
    ("missing-policy", &["veilpost-masker", "check", "--policy", "/nowhere/policy.toml"]),
    (
        "bad-table-name",
        &["veilpost-writer", "--database-url", "postgres://localhost/d", "--table", "events."],
    ),
];

/// Runs without the caller's environment, so that no variable changes the text, and 110 columns wide.
fn run(command: &[&str], arguments: &[&str]) -> Output {
    let [program, subcommand @ ..] = command else { unreachable!("a command has a program") };
    Command::new(binary(program).unwrap())
        .args(subcommand)
        .args(arguments)
        .env_clear()
        .env("COLUMNS", "110")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn every_help_text_is_the_one_of_its_snapshot() {
    for command in COMMANDS {
        let output = run(command, &["--help"]);
        assert!(output.status.success(), "{command:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        insta::assert_snapshot!(format!("help-{}", command.join("-")), help);
    }
}

#[test]
fn every_mistake_is_explained_as_in_its_snapshot() {
    for (name, command) in MISTAKES {
        let output = run(command, &[]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let said = String::from_utf8(output.stderr).unwrap();
        insta::assert_snapshot!(format!("mistake-{name}"), without_progress(&said));
    }
}

/// Without the log lines of a normal start, and with the time of the others replaced by a constant.
fn without_progress(said: &str) -> String {
    let line = |line: &str| match line.split_once("\"timestamp\":\"") {
        Some((before, rest)) => {
            format!("{before}\"timestamp\":\"…\"{}", rest.split_once('"').map_or("", |(_, rest)| rest))
        }
        None => line.to_owned(),
    };
    let lines = said.lines().filter(|line| !line.contains("\"level\":\"INFO\"")).map(line);
    lines.collect::<Vec<_>>().join("\n")
}
