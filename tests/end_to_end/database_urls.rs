//! Database URLs that cannot work: the real programs say what is wrong, and never show a secret.

use std::process::{Command, Output, Stdio};

use veilpost_testkit::binary;

const SECRET: &str = "s3cretLEAKME";

/// URLs in which $ stands for a secret, and what the error has to name.
const URLS: [(&str, &str); 100] = [
    // No URL, or one of something else.
    ("$", "such as postgres://user:password@host:5432/name"),
    ("$@h/d", "such as postgres://"),
    ("//u:$@h/d", "such as postgres://"),
    ("u:$@h:5432/d", "such as postgres://"),
    ("host=h user=u password=$", "a list of keys and values"),
    ("host=h user=u password='$ x' dbname=d", "a list of keys and values"),
    ("jdbc:postgresql://h/d?user=u&password=$", "leave out `jdbc:`"),
    ("JDBC:postgresql://u:$@h/d", "leave out `jdbc:`"),
    ("mysql://u:$@h/d", "does not begin with postgres://"),
    ("postgre://u:$@h/d", "does not begin with postgres://"),
    ("postgresq1://u:$@h/d", "does not begin with postgres://"),
    ("postgres+ssl://u:$@h/d", "does not begin with postgres://"),
    ("http://u:$@h/d", "does not begin with postgres://"),
    ("sqlite://$", "does not begin with postgres://"),
    ("postgres:u:$@h/d", "such as postgres://"),
    ("postgres:/u:$@h/d", "such as postgres://"),
    ("\"postgres://u:$@h/d\"", "does not begin with postgres://"),
    ("'postgres://u:$@h/d'", "does not begin with postgres://"),
    ("DATABASE_URL=postgres://u:$@h/d", "does not begin with postgres://"),
    ("export DATABASE_URL=postgres://u:$@h/d", "does not begin with postgres://"),
    ("psql postgres://u:$@h/d", "does not begin with postgres://"),
    // Ports.
    ("postgres://u:$@h:port/d", "the port is not a number between 1 and 65535"),
    ("postgres://u:$@h:0/d", "the port"),
    ("postgres://u:$@h:65536/d", "the port"),
    ("postgres://u:$@h:99999999999999999999/d", "the port"),
    ("postgres://u:$@h:-1/d", "the port"),
    ("postgres://u:$@h:+5432/d", "the port"),
    ("postgres://u:$@h:5432x/d", "the port"),
    ("postgres://u:$@h: 5432/d", "the port"),
    ("postgres://u:$@h:5432:5433/d", "an IPv6 address needs brackets"),
    ("postgres://u:p@h:$/d", "the port"),
    ("postgres://u:$", "the port"),
    ("postgres://u:$/d", "the port"),
    ("postgres://u:$@h/d?port=0", "the port"),
    ("postgres://u:p@h/d?port=$", "the port"),
    ("postgres:///d?password=$&port=65536", "the port"),
    // What must be escaped in a password.
    ("postgres://u:p@$@h/d", "@ as %40"),
    ("postgres://u:$@x@h/d", "@ as %40"),
    ("postgres://u:p/$@h/d", "/ as %2F"),
    ("postgres://u:12/$@h/d", "/ as %2F"),
    ("postgres://u:$/x@h/d", "/ as %2F"),
    ("postgres://u:p%$@h/d", "a % itself is written %25"),
    ("postgres://u:$%@h/d", "a % itself is written %25"),
    ("postgres://u:$%g0@h/d", "a % itself is written %25"),
    ("postgres://u:$%4@h/d", "a % itself is written %25"),
    ("postgres://u:$%00@h/d", "%00 is not allowed"),
    ("postgres://u:$%ff@h/d", "not UTF-8"),
    ("postgres://%ff$:p@h/d", "not UTF-8"),
    ("postgres://%zz$:p@h/d", "in the user"),
    ("postgres://$@u:p@h/d", "@ as %40"),
    ("postgres://u:p#@$@h/d", "@ as %40"),
    ("postgres://u:p@h/d@$", "@ as %40"),
    ("postgres://u:p@h/d#@$", "@ as %40"),
    ("postgres://u:p@h/$%", "in the database's name"),
    ("postgres://u:p@$%/d", "in the host"),
    ("postgres://u:p@%00$/d", "%00"),
    // Hosts.
    ("postgres://u:$@one,two/d", "several hosts"),
    ("postgres://u:$@one:1,two:2/d", "several hosts"),
    ("postgres://u:$@one,/d", "several hosts"),
    ("postgres://u:p@one,$/d", "several hosts"),
    ("postgres:///d?host=one,two&password=$", "several hosts"),
    ("postgres:///d?host=h&port=1,2&password=$", "several hosts"),
    ("postgres://u:$@one%2Ctwo/d", "several hosts"),
    ("postgres://u:$@::1/d", "brackets"),
    ("postgres://u:$@fe80::1:5432/d", "brackets"),
    ("postgres://u:$@[::1/d", "bracket"),
    ("postgres://u:$@[::1]5432/d", "bracket"),
    ("postgres://u:$@[::1]:port/d", "the port"),
    ("postgres://u:p@[$/d", "bracket"),
    ("postgres:///d?host=@$", "abstract namespace"),
    ("postgres://u:$@/d?hostaddr=x", "hostaddr is not an IP address"),
    ("postgres://u:p@/d?hostaddr=$", "hostaddr is not an IP address"),
    ("postgres://u:$@h/d?hostaddr=127.0.0.1", "host and hostaddr"),
    // Parameters.
    ("postgres://u:$@h/d?sslmode=verify_full", "sslmode is none of disable"),
    ("postgres://u:$@h/d?sslmode=VERIFY-FULL", "sslmode is none of"),
    ("postgres://u:$@h/d?sslmode=", "sslmode is none of"),
    ("postgres://u:$@h/d?sslmode=true", "sslmode is none of"),
    ("postgres://u:p@h/d?sslmode=$", "sslmode is none of"),
    ("postgres://u:$@h/d?sslmode", "has no ="),
    ("postgres://u:p@h/d?$", "has no ="),
    ("postgres://u@h/d?pass=$", "password may be meant"),
    ("postgres://u@h/d?passwort=$", "password may be meant"),
    ("postgres://u@h/d?PASSWORD=$", "password may be meant"),
    ("postgres://u@h/d?pwd=$", "password may be meant"),
    ("postgres://u@h/d?$=1", "parameter 1 after the ? has an unknown name"),
    ("postgres://u@h/d?sslmode=disable&$=1", "parameter 2 after the ? has an unknown name"),
    ("postgres://u@h/d?user=x&token=$", "parameter 2 after the ? has an unknown name"),
    ("postgres://u@h/d?ssl=$", "ssl has a value"),
    ("postgres://u:$@h/d?sslcrl=x", "sslcrl is not supported"),
    ("postgres://u:p@h/d?sslpassword=$", "sslpassword is not supported"),
    ("postgres://u:p@h/d?service=$", "service is not supported"),
    ("postgres://u:p@h/d?channel_binding=$", "channel_binding"),
    ("postgres://u:p@h/d?target_session_attrs=$", "target_session_attrs"),
    ("postgres://u:p@h/d?statement-cache-capacity=$", "statement-cache-capacity"),
    ("postgres://u:$@h/d?currentSchema=app", "search_path"),
    ("postgres://u:p@h/d?options[$]=x", "options=-c"),
    ("postgres://u:p@h/d?x=%$", "a % itself is written %25"),
    ("postgres://u:p@h/d?%zz$=1", "the name of a parameter"),
    ("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=", "sslrootcert is empty"),
    ("postgres://u:$@h/d?sslrootcert=/nowhere/ca.pem", "cannot read sslrootcert /nowhere/ca.pem"),
];

/// How each program gets a URL, by the name of the way.
fn programs(url: &str) -> Vec<(&'static str, Command)> {
    let program = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(binary(name).unwrap());
        command.args(arguments).stdin(Stdio::null());
        for variable in ["DATABASE_URL", "DATABASE_URL_FILE", "PGSSLMODE", "PGSSLROOTCERT"] {
            command.env_remove(variable);
        }
        command
    };
    let loud = ["--log", "trace", "--log-format", "json"];
    let mut run = program("veilpost-writer", &[&loud[..], &["--admin-address", "127.0.0.1:0"]].concat());
    run.env("DATABASE_URL", url);
    let mut migrate = program("veilpost-writer", &[&["migrate"], &loud[..]].concat());
    migrate.env("DATABASE_URL", url);
    let demo = program("veilpost", &["demo", "--database-url", url]);
    vec![("writer", run), ("migrate", migrate), ("demo", demo)]
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_url_that_cannot_work_is_explained_and_its_secret_is_nowhere() {
    for (template, named) in URLS {
        assert!(template.contains('$') || named.contains("sslrootcert is empty"), "{template}");
        let url = template.replace('$', SECRET);
        for (way, mut command) in programs(&url) {
            let output = command.output().unwrap();
            let said = said(&output);
            let expected = if way == "demo" { 1 } else { 2 };
            assert_eq!(output.status.code(), Some(expected), "{way}, {template}: {said}");
            assert!(said.contains(named), "{way}, {template}: {said}");
            for secret in [SECRET, "LEAKME"] {
                assert!(!said.contains(secret), "{way}, {template}: {said}");
            }
        }
    }
}

/// The same, from a file and from the command line.
#[test]
fn it_makes_no_difference_where_the_url_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    for (template, named) in URLS.iter().step_by(9) {
        let url = template.replace('$', SECRET);
        std::fs::write(&file, format!("{url}\n")).unwrap();
        for arguments in [["--database-url-file", file.to_str().unwrap()], ["--database-url", &url]] {
            for first in [&[][..], &["migrate"]] {
                let mut command = Command::new(binary("veilpost-writer").unwrap());
                command.args(first).args(arguments).args(["--log", "trace"]);
                command.env_remove("DATABASE_URL").env_remove("DATABASE_URL_FILE");
                let output = command.output().unwrap();
                let said = said(&output);
                assert_eq!(output.status.code(), Some(2), "{template}: {said}");
                assert!(said.contains(named) && !said.contains("LEAKME"), "{template}: {said}");
            }
        }
    }
}

/// What psql takes works here as well: the migration ends in a database that is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_psql_takes_reaches_the_database() {
    let stack = veilpost_testkit::Stack::bare().await.unwrap();
    let url = stack.postgres.url();
    let (password, port) = (url.split(['@', ':']).nth(2).unwrap(), stack.postgres.port());
    let socket = stack.postgres.directory().display().to_string();
    let escaped = socket.replace('/', "%2F");
    for url in [
        format!("postgresql://postgres:{password}@127.0.0.1:{port}/postgres"),
        format!("POSTGRES://postgres:{password}@127.0.0.1:{port}/postgres?sslmode=prefer"),
        format!("postgres://127.0.0.1:{port}/postgres?user=postgres&password={password}"),
        format!("postgres:///postgres?host=127.0.0.1&port={port}&user=postgres&password={password}"),
        format!("postgres://?host=127.0.0.1&port={port}&user=postgres&password={password}&dbname=postgres"),
        format!("postgres://postgres:{password}@/postgres?hostaddr=127.0.0.1&port={port}"),
        format!("postgres://postgres:{password}@/postgres?host={socket}&port={port}"),
        format!("postgres://postgres:{password}@{escaped}:{port}/postgres"),
        format!("postgres://postgres:{password}@[::ffff:127.0.0.1]:{port}/postgres?sslmode=disable"),
        format!("postgres://p%6fstgres:{password}@127.0.0.1:{port}/postgres?connect_timeout=3&keepalives=1"),
        format!(
            "postgres://postgres:{password}@localhost:{port}/postgres?application_name=x&sslcompression=0"
        ),
        format!("  postgres://postgres:{password}@127.0.0.1:{port}/postgres?gssencmode=disable\n"),
    ] {
        let (_, mut command) = programs(&url).swap_remove(1);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = said(&output);
        let shown = url.replace(password, "…");
        assert_eq!(output.status.code(), Some(0), "{shown}: {said}");
        assert!(!said.contains(password), "{shown}");
    }
}
