//! Settings that cannot work: one clear line and exit status 2.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use veilpost_local::queue::{CREDENTIALS, REGION};
use veilpost_testkit::{Stack, binary};

fn run(service: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(binary(&format!("veilpost-{service}")).unwrap())
        .args(["--admin-address", "127.0.0.1:0"])
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn refused(output: &Output, expected: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for text in expected {
        assert!(said.contains(text), "`{text}` is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_a_mistake_names_file_line_and_mistake() {
    let stack = Stack::bare().await.unwrap();
    let policy = stack
        .file(
            "bad.toml",
            "table = \"t\"\n[[column]]\nname = \"a\"\nsource = \"/a\"\ntransform = \"sha513\"\n",
        )
        .unwrap();
    let arguments = [
        "--downstream",
        "http://127.0.0.1:1",
        "--listen-address",
        "127.0.0.1:0",
        "--policy",
        policy.to_str().unwrap(),
    ];
    refused(&run("masker", &arguments, &[]), &["bad.toml:5", "sha513", "hmac-sha512"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_with_nowhere_to_put_rejected_messages_refuses_to_start() {
    let stack = Stack::bare().await.unwrap();
    stack.sqs.create_queue().queue_name("plain").send().await.unwrap();
    let endpoint = stack.queue.endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", CREDENTIALS.0),
        ("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1),
    ];
    let downstream = ["--downstream", "http://127.0.0.1:1", "--queue"];
    let reader = |arguments: &[&str]| run("reader", &[&downstream, arguments].concat(), &variables);
    refused(&reader(&["plain"]), &["--dead-letter-queue-url", "--on-reject leave"]);
    let own = &["user-logins", "--dead-letter-queue-url", stack.pair.url.as_str()];
    refused(&reader(own), &["dead-letter"]);
}

#[test]
fn a_mistyped_option_is_named() {
    for service in ["reader", "masker", "writer"] {
        refused(&run(service, &["--no-such-option"], &[]), &["--no-such-option"]);
    }
}

#[test]
fn a_downstream_without_port_is_explained() {
    let arguments = ["--downstream", "http://writer", "--listen-address", "127.0.0.1:0"];
    refused(&run("masker", &arguments, &[]), &["http://host:port"]);
}

/// A machine that is none of Amazon's: the metadata service is a closed port, or one that takes connections
/// and is silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_a_region_says_so_at_once_and_nothing_else() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = tempfile::tempdir().unwrap();
    let arguments = ["--downstream", "http://127.0.0.1:1", "--queue", "q", "--dead-letter-queue-url", "d"];
    for metadata in [silent.local_addr().unwrap(), closed] {
        let begun = Instant::now();
        let output = Command::new(binary("veilpost-reader").unwrap())
            .args(["--admin-address", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{metadata}"))
            .output()
            .unwrap();
        // Two seconds, and as many again for a machine that is busy.
        assert!(begun.elapsed() < Duration::from_secs(4), "took {:?}", begun.elapsed());
        refused(&output, &["no AWS region is known; set AWS_REGION"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let loud = said.lines().filter(|line| !line.contains("\"level\":\"INFO\"")).count();
        assert_eq!(loud, 1, "{said}");
    }
}
