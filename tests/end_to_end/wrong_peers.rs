//! Ports of another service, and TLS on one side only: each end says once what is wrong and what to do.

#![allow(clippy::indexing_slicing, reason = "a test fails by a panic")]
#![allow(clippy::disallowed_methods, reason = "proxies end with the test's runtime")]

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use veilpost_local::process::{ServiceCommand, ServiceProcess};
use veilpost_testkit::{Pki, Stack, binary, eventually};

const PREVENTED: &str = "cannot open a stream; trying again";
const CANNOT_MIGRATE: &str = "cannot migrate yet; trying again";

/// How often a service has tried before the lines of its log are counted.
const ATTEMPTS: usize = 5;

/// A port that leads to a peer and counts the connections that are made to it.
struct Counted {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Counted {
    async fn before(peer: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(peer).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { address, connections }
    }

    /// Waits until the peer has been tried often enough.
    async fn tried(&self) {
        let before = self.connections.load(Ordering::Relaxed);
        let ask = async || match self.connections.load(Ordering::Relaxed) {
            enough if enough >= before + ATTEMPTS => Ok(()),
            few => Err(format!("{few} connections")),
        };
        eventually("more attempts", ask).await.unwrap();
    }
}

/// The errors that a service's lines with `message` have.
fn errors(service: &ServiceProcess, message: &str) -> Vec<String> {
    let log = std::fs::read_to_string(service.log_file()).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let of_message = lines.filter(|line| line["message"] == message);
    of_message.map(|line| line["error"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits for the first line with `message`, then through more attempts, and returns the one error.
async fn only_error(service: &ServiceProcess, message: &str, peer: &Counted) -> String {
    let first = async || match errors(service, message).len() {
        0 => Err(format!("the log ends: {}", service.log_tail())),
        _ => Ok(()),
    };
    eventually(message, first).await.unwrap();
    peer.tried().await;
    let mut all = errors(service, message);
    assert_eq!(all.len(), 1, "said more than once: {all:#?}");
    all.remove(0)
}

fn contains(said: &str, expected: &[&str]) {
    for text in expected {
        assert!(said.contains(text), "`{text}` is not in: {said}");
    }
}

/// A masker whose writer is at this address, with TLS where the stack has certificates.
async fn masker_to(stack: &mut Stack, peer: &Counted) -> ServiceProcess {
    let scheme = if stack.pki.is_some() { "https" } else { "http" };
    let downstream = format!("{scheme}://{}", peer.address);
    stack.launch_masker(&[("--downstream", &downstream)]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_one_side_only_is_named_on_both_sides() {
    let mut stack = Stack::bare().await.unwrap();
    let plain = stack.start_writer(&[]).await.unwrap();
    stack.pki = Some(Pki::new().unwrap());
    let encrypted = stack.start_writer(&[]).await.unwrap();
    let (plain, encrypted) = (Counted::before(plain).await, Counted::before(encrypted).await);
    let with_tls = masker_to(&mut stack, &plain).await;
    let pki = stack.pki.take();
    let without_tls = masker_to(&mut stack, &encrypted).await;
    let said = only_error(&without_tls, PREVENTED, &encrypted).await;
    contains(&said, &["TLS", "https://", "--tls-"]);
    let said = only_error(&with_tls, PREVENTED, &plain).await;
    contains(&said, &["does not answer as a server with TLS", "--tls-certificate", "--downstream"]);
    let of_writers: Vec<_> =
        stack.writers.iter().flat_map(|writer| errors(writer, "connection refused")).collect();
    assert_eq!(of_writers.len(), 2, "{of_writers:#?}");
    contains(&of_writers[0], &["the peer speaks TLS and this port does not", "--tls-certificate", "http://"]);
    drop(pki);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_another_service_is_named_as_such() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    let admin = stack.writers[0].admin_address().await.unwrap();
    let masker = stack.start_masker(&[]).await.unwrap();
    let postgres = SocketAddr::from(([127, 0, 0, 1], stack.postgres.port()));
    let mut maskers = Vec::new();
    for (what, peer) in [("admin", admin), ("masker", masker), ("postgres", postgres)] {
        let peer = Counted::before(peer).await;
        maskers.push((what, masker_to(&mut stack, &peer).await, peer));
    }
    for (what, masker, peer) in &maskers {
        let said = only_error(masker, PREVENTED, peer).await;
        assert!(said.contains("service") || said.contains("admin port"), "{what}: {said}");
        assert!(said.contains("--downstream") || said.contains("its own log"), "{what}: {said}");
    }
    stack.pki = Some(Pki::new().unwrap());
    let admin = Counted::before(admin).await;
    let over_tls = masker_to(&mut stack, &admin).await;
    contains(&only_error(&over_tls, PREVENTED, &admin).await, &["TLS", "admin port"]);
}

/// A writer whose database is at an address at which no Postgres is.
fn writer_to(stack: &Stack, name: &str, database: &str) -> ServiceProcess {
    let command = ServiceCommand::new(name, binary("veilpost-writer").unwrap())
        .arg("--listen-address", "127.0.0.1:0")
        .env("DATABASE_URL", database);
    let marker = stack.file(&format!("{name}.marker"), "").unwrap();
    command.start(marker.parent().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_another_service_is_named_with_its_address() {
    let mut stack = Stack::bare().await.unwrap();
    let grpc = stack.start_writer(&[]).await.unwrap();
    let admin = stack.writers[0].admin_address().await.unwrap();
    stack.pki = Some(Pki::new().unwrap());
    let encrypted = stack.start_writer(&[]).await.unwrap();
    let queue = stack.queue.address();
    let mut writers = Vec::new();
    for (number, peer) in [grpc, admin, encrypted, queue].into_iter().enumerate() {
        for mode in ["disable", "prefer", "require"] {
            let peer = Counted::before(peer).await;
            let url = format!("postgres://u:s3cret@{}/d?sslmode={mode}", peer.address);
            let writer = writer_to(&stack, &format!("writer-{number}-{mode}"), &url);
            writers.push((mode, writer, peer));
        }
    }
    for (mode, writer, peer) in &writers {
        let said = only_error(writer, CANNOT_MIGRATE, peer).await;
        contains(&said, &[&peer.address.to_string(), "another service may listen"]);
        assert!(!said.contains("s3cret"), "{mode}: {said}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let writer = writer_to(&stack, "writer-closed", &format!("postgres://u:s3cret@{closed}/d"));
    let said = async || errors(&writer, CANNOT_MIGRATE).pop().ok_or_else(|| writer.log_tail());
    contains(&eventually("a line", said).await.unwrap(), &[&closed.to_string(), "nobody listens"]);
    // What does not mend itself ends a migration.
    for (peer, status) in [(admin, Some(1)), (grpc, Some(1))] {
        let url = format!("postgres://u:s3cret@{peer}/d");
        let migrate = move || {
            let mut command = Command::new(binary("veilpost-writer").unwrap());
            command.arg("migrate").env("DATABASE_URL", url).env_remove("DATABASE_URL_FILE").output().unwrap()
        };
        let output = tokio::time::timeout(Duration::from_mins(1), tokio::task::spawn_blocking(migrate)).await;
        assert_eq!(output.expect("it ends").unwrap().status.code(), status);
    }
}

fn outcome(service: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(binary(&format!("veilpost-{service}")).unwrap());
    command.args(arguments).envs(variables.iter().copied());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_port_that_is_none_is_refused_in_every_option_with_an_address() {
    let database = [("DATABASE_URL", "postgres://u@127.0.0.1:1/d")];
    let usual = ["--downstream", "http://127.0.0.1:1"];
    for port in ["65536", "-1", "x", ""] {
        let address = format!("127.0.0.1:{port}");
        for (service, option) in [
            ("reader", "--admin-address"),
            ("masker", "--admin-address"),
            ("masker", "--listen-address"),
            ("writer", "--admin-address"),
            ("writer", "--listen-address"),
        ] {
            let (status, said) = outcome(service, &[option, &address], &database);
            assert_eq!(status, Some(2), "{said}");
            contains(&said, &[option, "the port is not a number from 0 to 65535", "127.0.0.1:9101"]);
        }
    }
    for (port, expected) in
        [("0", "port 0, to which nobody can connect"), ("65536", "not a number between 1 and 65535")]
    {
        let downstream = format!("http://127.0.0.1:{port}");
        for service in ["reader", "masker"] {
            let queue: &[&str] =
                if service == "reader" { &["--queue", "q", "--on-reject", "leave"] } else { &[] };
            let own = [&["--admin-address", "127.0.0.1:0", "--downstream", &downstream], queue].concat();
            let (status, said) = outcome(service, &own, &[("AWS_REGION", "x")]);
            assert_eq!(status, Some(2), "{said}");
            contains(&said, &["--downstream", expected, "http://host:port"]);
        }
        let reader = ["--admin-address", "127.0.0.1:0", "--queue", "q", "--on-reject", "leave"];
        let endpoint = format!("http://127.0.0.1:{port}");
        let variables = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_REGION", "x"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
        ];
        let (status, said) = outcome("reader", &[&reader[..], &usual].concat(), &variables);
        assert_eq!(status, Some(2), "{said}");
        contains(&said, &["AWS_ENDPOINT_URL", "not a number between 1 and 65535"]);
        let url = format!("postgres://u@127.0.0.1:{port}/d");
        let (status, said) =
            outcome("writer", &["--admin-address", "127.0.0.1:0"], &[("DATABASE_URL", url.as_str())]);
        assert_eq!(status, Some(2), "{said}");
        contains(&said, &["DATABASE_URL", "not a number between 1 and 65535"]);
    }
    let own = ["--address", "127.0.0.1:65536"];
    let output = Command::new(binary("veilpost").unwrap()).arg("queue").args(own).output().unwrap();
    contains(&String::from_utf8_lossy(&output.stderr), &["--address", "from 0 to 65535"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_with_its_option_and_what_to_do() {
    let stack = Stack::bare().await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, url) = (taken.local_addr().unwrap().to_string(), stack.postgres.url());
    let free = "127.0.0.1:0";
    let downstream = ["--downstream", "http://127.0.0.1:1"];
    for (service, admin, listen) in [
        ("reader", &*address, None),
        ("masker", &*address, Some(free)),
        ("masker", free, Some(&*address)),
        ("writer", &*address, Some(free)),
        ("writer", free, Some(&*address)),
    ] {
        let mut arguments = vec!["--admin-address", admin];
        arguments.extend(listen.into_iter().flat_map(|listen| ["--listen-address", listen]));
        match service {
            "reader" => {
                arguments.extend(["--queue", "q", "--on-reject", "leave"].into_iter().chain(downstream));
            }
            "masker" => arguments.extend(downstream),
            _ => {}
        }
        let (status, said) = outcome(service, &arguments, &[("DATABASE_URL", &url), ("AWS_REGION", "x")]);
        assert_eq!(status, Some(1), "{said}");
        let option = if admin == address { "--admin-address" } else { "--listen-address" };
        contains(&said, &[option, &address, "another process listens there", "choose another port"]);
    }
}
