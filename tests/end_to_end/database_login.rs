//! The login to the database changes while records flow: nothing is lost, and no process is started again.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, PgConnection};
use veilpost_local::process::{ServiceCommand, ServiceProcess};
use veilpost_testkit::{Stack, binary, eventually};

/// Writes the URL as Kubernetes does: another file takes the place of the one before.
fn put(file: &Path, url: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{url}\n")).unwrap();
    std::fs::rename(&next, file).unwrap();
}

fn url_of(stack: &Stack, role: &str, password: &str) -> String {
    format!("postgres://{role}:{password}@127.0.0.1:{}/postgres?sslmode=disable", stack.postgres.port())
}

async fn run(database: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(database).await.unwrap();
}

/// A writer that reads its URL from `file`, and may do what the documented grants allow.
async fn start_writer(stack: &mut Stack, file: &Path) {
    let mut writer = ServiceCommand::new("writer-by-file", binary("veilpost-writer").unwrap())
        .arg("--listen-address", "127.0.0.1:0")
        .arg("--migrate", "false")
        .env("DATABASE_URL_FILE", file.display().to_string())
        .start(file.parent().unwrap())
        .unwrap();
    writer.ready().await.unwrap();
    stack.writers.push(writer);
}

async fn prepare(stack: &mut Stack) -> PgConnection {
    let mut database = stack.database().await.unwrap();
    run(&mut database, "CREATE ROLE app LOGIN PASSWORD 'first'").await;
    let url = stack.postgres.url();
    let migrate = move || {
        let mut command = std::process::Command::new(binary("veilpost-writer").unwrap());
        command.args(["migrate", "--grant-to", "app"]).env("DATABASE_URL", url);
        assert!(command.env_remove("DATABASE_URL_FILE").status().unwrap().success());
    };
    tokio::task::spawn_blocking(migrate).await.unwrap();
    database
}

/// A pipeline whose writer reads its URL from the file.
async fn running() -> (Stack, PgConnection, PathBuf) {
    let mut stack = Stack::bare().await.unwrap();
    let database = prepare(&mut stack).await;
    let file = stack.file("url", "").unwrap();
    put(&file, &url_of(&stack, "app", "first"));
    start_writer(&mut stack, &file).await;
    stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    (stack, database, file)
}

/// How often a log has a text.
fn count(log: &Path, text: &str) -> usize {
    std::fs::read_to_string(log).unwrap().matches(text).count()
}

/// Ends the writer's connections again and again until `holds`: one that is being opened is not listed yet.
async fn end_connections_until(database: &mut PgConnection, what: &str, holds: impl Fn() -> bool) {
    let ask = async || {
        run(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'").await;
        if holds() { Ok(()) } else { Err(String::new()) }
    };
    eventually(what, ask).await.unwrap();
}

async fn says(service: &ServiceProcess, text: &str, times: usize) {
    let ask = async || match count(service.log_file(), text) {
        enough if enough >= times => Ok(()),
        few => Err(format!("{few} times; the log ends: {}", service.log_tail())),
    };
    eventually(text, ask).await.unwrap();
}

const REFUSED: &str = "password authentication failed for user \"app\"";
const READ: &str = "read a new URL from DATABASE_URL_FILE";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_while_records_flow_loses_nothing_and_restarts_nothing() {
    let (mut stack, mut database, file) = running().await;
    let pid = stack.writers[0].pid();
    let mut passwords = vec!["first".to_owned()];
    for round in 1..=3 {
        let sent = i64::try_from(round).unwrap() * 300;
        let password = format!("password-{round}");
        stack.send_logins(&format!("before-{round}-"), 150).await.unwrap();
        let postgres_log = stack.postgres.log_file();
        let refused = count(&postgres_log, REFUSED);
        run(&mut database, &format!("ALTER ROLE app PASSWORD '{password}'")).await;
        if round == 2 {
            // The new URL comes before the old connections end.
            put(&file, &url_of(&stack, "app", &password));
        }
        stack.send_logins(&format!("after-{round}-"), 150).await.unwrap();
        if round != 2 {
            // Until the new URL comes, the old password is refused, and everything is kept.
            let is_refused = || count(&postgres_log, REFUSED) > refused;
            end_connections_until(&mut database, "a refused password", is_refused).await;
            put(&file, &url_of(&stack, "app", &password));
        }
        let log = stack.writers[0].log_file().to_owned();
        end_connections_until(&mut database, READ, || count(&log, READ) >= round).await;
        stack.rows_are(sent).await.unwrap();
        passwords.push(password);
    }
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.count("SELECT count(DISTINCT user_id) FROM user_logins").await.unwrap(), 900);
    assert_eq!(stack.dead_letters().await.unwrap().len(), 0);
    stack.writers[0].ensure_running().unwrap();
    assert_eq!(stack.writers[0].pid(), pid);
    says(&stack.writers[0], READ, 3).await;
    says(&stack.writers[0], "SQLSTATE 28P01: the password is refused", 1).await;
    stack.stop().await.unwrap();
    for (place, text) in stack.logs().unwrap() {
        let of_postgres = place.starts_with(stack.postgres.directory());
        for password in passwords.iter().filter(|password| password.contains('-')) {
            assert!(of_postgres || !text.contains(password), "{}", place.display());
        }
    }
}

/// A privilege that goes away is named in the log, with who lacks it and how it is granted again.
#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_is_revoked_while_records_flow_is_named_once_and_nothing_is_lost() {
    let (mut stack, mut database, _file) = running().await;
    stack.send_logins("a-", 20).await.unwrap();
    stack.rows_are(20).await.unwrap();
    for (revoke, grant, lacks) in [
        (
            "REVOKE INSERT ON user_logins FROM app",
            "GRANT INSERT ON user_logins TO app",
            "role app lacks: INSERT ON TABLE public.user_logins. The owner grants it with `veilpost-writer migrate \
             --table public.user_logins --grant-to app`",
        ),
        (
            "REVOKE INSERT ON veilpost.ledger FROM app",
            "GRANT INSERT ON veilpost.ledger TO app",
            "role app lacks: INSERT ON TABLE veilpost.ledger",
        ),
        (
            "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE user_logins DISABLE ROW LEVEL SECURITY",
            "row-level security of table public.user_logins refuses the row for role app",
        ),
    ] {
        let before = stack.rows().await.unwrap();
        run(&mut database, revoke).await;
        stack.send_logins("b-", 20).await.unwrap();
        says(&stack.writers[0], lacks, 1).await;
        run(&mut database, grant).await;
        stack.rows_are(before + 20).await.unwrap();
    }
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.dead_letters().await.unwrap().len(), 0);
    stack.stop().await.unwrap();
}
