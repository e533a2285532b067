//! `veilpost queue` as a person runs it.

use std::process::Stdio;

use tokio::process::Command;

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_setting_that_chooses_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_veilpost"));
    command.args(["queue", "--address", &address]).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("--address"), "{said}");
}
