//! Policies that writers refuse, and policies and keys that are replaced while records flow.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Row;
use veilpost_local::process::ServiceProcess;
use veilpost_testkit::{Stack, eventually};

const KEYS: [&str; 2] = [
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100",
];

/// Two columns with digests by the same key, so that a row shows by which policy it was masked.
fn policy(key: &str, further: &str) -> String {
    format!(
        "table = \"user_logins\"\n\
         [[column]]\nname = \"user_id\"\nsource = \"/user_id\"\ntransform = \"copy\"\n\
         [[column]]\nname = \"masked_ip\"\nsource = \"/ip\"\ntransform = \"hmac-sha512\"\ndomain = \"ip\"\nkey = \"{key}\"\n\
         [[column]]\nname = \"masked_device_id\"\nsource = \"/device_id\"\ntransform = \"hmac-sha512\"\n\
         domain = \"device\"\nkey = \"{key}\"\n{further}"
    )
}

const WITH_DIGEST: &str = "[[column]]\nname = \"ip_digest\"\nsource = \"/ip\"\ntransform = \"sha512\"\n";

/// Makes a directory as Kubernetes mounts it: files are links into one that is replaced as a whole.
struct Mount {
    root: PathBuf,
    version: usize,
}

impl Mount {
    fn new(stack: &Stack) -> Self {
        let root = stack.file("mounted", "").unwrap();
        std::fs::remove_file(&root).unwrap();
        std::fs::create_dir(&root).unwrap();
        Self { root, version: 0 }
    }

    fn path(&self, name: &str) -> String {
        self.root.join("data").join(name).to_str().unwrap().to_owned()
    }

    fn put(&mut self, policy: &str, keys: &str) {
        self.version += 1;
        let version = self.root.join(self.version.to_string());
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("policy.toml"), policy).unwrap();
        std::fs::write(version.join("keys"), keys).unwrap();
        let next = self.root.join("next");
        std::os::unix::fs::symlink(&version, &next).unwrap();
        std::fs::rename(&next, self.root.join("data")).unwrap();
    }
}

/// Waits until a metric has a value, with any labels.
async fn shows(service: &mut ServiceProcess, metric: &str, value: f64) {
    for _ in 0..600 {
        let metrics = service.metrics().await.unwrap();
        if (metrics.sum(metric, &[]) - value).abs() < 0.5 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("{metric} is not {value}:\n{}", service.log_tail());
}

async fn execute(stack: &Stack, statement: &'static str) {
    let mut database = stack.database().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut database).await.unwrap();
}

async fn is_ready(service: &mut ServiceProcess, expected: bool) {
    let address = service.admin_address().await.unwrap();
    let ask = async || {
        let answer = get(address, "/readyz").await.map_err(|error| error.to_string())?;
        let found = answer.starts_with("HTTP/1.1 200");
        (found == expected).then_some(()).ok_or_else(|| format!("readiness is {found}"))
    };
    eventually("readiness", ask).await.unwrap();
}

async fn get(address: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masker_whose_column_is_missing_is_not_ready_and_holds_nothing() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let wrong = stack.file("wrong.toml", &policy("k1", WITH_DIGEST)).unwrap();
    let keys = stack.file("keys", &format!("k1={}\n", KEYS[0])).unwrap();
    let arguments = [("--policy", wrong.to_str().unwrap()), ("--hmac-keys-file", keys.to_str().unwrap())];
    let bad = stack.launch_masker(&arguments).await.unwrap();
    stack.maskers.push(bad);
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("a-", 200).await.unwrap();
    stack.rows_are(200).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    is_ready(&mut stack.maskers[0], true).await;
    is_ready(&mut stack.maskers[1], false).await;
    shows(&mut stack.maskers[1], "veilpost_masker_target_refused", 1.0).await;
    said(&stack, "ip_digest", "stream refused").await;
    said(&stack, "ip_digest", "the downstream refuses what this service sends").await;
    // The column comes: the masker needs no restart.
    execute(&stack, "ALTER TABLE user_logins ADD COLUMN ip_digest text").await;
    is_ready(&mut stack.maskers[1], true).await;
    shows(&mut stack.maskers[1], "veilpost_masker_target_refused", 0.0).await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_goes_while_records_flow_gives_them_back_to_a_masker_that_fits() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    execute(&stack, "ALTER TABLE user_logins ADD COLUMN ip_digest text").await;
    let keys = stack.file("keys", &format!("k1={}\n", KEYS[0])).unwrap();
    for (name, further) in [("plain.toml", ""), ("with.toml", WITH_DIGEST)] {
        let policy = stack.file(name, &policy("k1", further)).unwrap();
        let arguments =
            [("--policy", policy.to_str().unwrap()), ("--hmac-keys-file", keys.to_str().unwrap())];
        stack.start_masker(&arguments).await.unwrap();
    }
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("a-", 100).await.unwrap();
    stack.rows_are(100).await.unwrap();
    execute(&stack, "ALTER TABLE user_logins DROP COLUMN ip_digest").await;
    stack.send_logins("b-", 300).await.unwrap();
    stack.rows_are(400).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    is_ready(&mut stack.maskers[0], true).await;
    is_ready(&mut stack.maskers[1], false).await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_away_leaves_its_maskers_ready_with_their_records() {
    let mut stack = Stack::running().await.unwrap();
    let writer = stack.writers[0].grpc_address().await.unwrap().to_string();
    stack.send_logins("a-", 20).await.unwrap();
    stack.rows_are(20).await.unwrap();
    stack.writers[0].child().kill();
    stack.send_logins("b-", 20).await.unwrap();
    shows(&mut stack.maskers[0], "veilpost_link_open_streams", 0.0).await;
    is_ready(&mut stack.maskers[0], true).await;
    stack.writers.clear();
    stack.start_writer(&[("--listen-address", &writer)]).await.unwrap();
    stack.rows_are(40).await.unwrap();
    shows(&mut stack.maskers[0], "veilpost_masker_target_refused", 0.0).await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_keys_change_between_batches_while_records_flow() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    let mut mount = Mount::new(&stack);
    let (first, second) = (format!("k1={}\n", KEYS[0]), format!("k1={}\nk2={}\n", KEYS[0], KEYS[1]));
    mount.put(&policy("k1", ""), &first);
    let (policy_file, keys_file) = (mount.path("policy.toml"), mount.path("keys"));
    stack.start_masker(&[("--policy", &policy_file), ("--hmac-keys-file", &keys_file)]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    let mut sent = 0;
    let mut round = async |stack: &mut Stack| {
        stack.send_logins(&format!("r{sent}-"), 100).await.unwrap();
        sent += 100;
        sent
    };
    round(&mut stack).await;

    mount.put(&policy("k2", ""), &second);
    rows_with(&mut stack, &mut round, "masked_ip LIKE 'k2.%'").await;

    // What cannot be used changes nothing, and says so.
    for (policy, keys, says) in [
        ("table = ".to_owned(), second.clone(), "policy.toml"),
        (policy("k3", ""), second.clone(), "k3"),
        (policy("k2", ""), format!("k2={}\n", KEYS[0]), "other bytes"),
        (policy("k2", WITH_DIGEST), second.clone(), "ip_digest"),
    ] {
        mount.put(&policy, &keys);
        shows(&mut stack.maskers[0], "veilpost_masker_policy_unusable", 1.0).await;
        said(&stack, says, "keeping those in force").await;
        is_ready(&mut stack.maskers[0], true).await;
        round(&mut stack).await;
        mount.put(&self::policy("k2", ""), &second);
        shows(&mut stack.maskers[0], "veilpost_masker_policy_unusable", 0.0).await;
    }

    // A policy with another target takes effect once a writer accepts it.
    mount.put(&policy("k1", WITH_DIGEST), &second);
    shows(&mut stack.maskers[0], "veilpost_masker_policy_unusable", 1.0).await;
    execute(&stack, "ALTER TABLE user_logins ADD COLUMN ip_digest text").await;
    rows_with(&mut stack, &mut round, "ip_digest IS NOT NULL AND masked_ip LIKE 'k1.%'").await;
    shows(&mut stack.maskers[0], "veilpost_masker_policy_unusable", 0.0).await;

    let all = round(&mut stack).await;
    stack.rows_are(all).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    let mixed = "SELECT count(*) FROM user_logins
        WHERE split_part(masked_ip, '.', 1) <> split_part(masked_device_id, '.', 1)
        OR (ip_digest IS NOT NULL AND masked_ip NOT LIKE 'k1.%')";
    assert_eq!(stack.count(mixed).await.unwrap(), 0, "a row is by one policy");
    assert_eq!(stack.count("SELECT count(*) FROM user_logins WHERE masked_ip IS NULL").await.unwrap(), 0);
    let logs = stack.logs().unwrap();
    assert!(logs.iter().all(|(_, text)| KEYS.iter().all(|key| !text.contains(key))), "a key is in a log");
    stack.stop().await.unwrap();
}

/// Sends records until rows with this condition come.
async fn rows_with(stack: &mut Stack, round: &mut impl AsyncFnMut(&mut Stack) -> i64, condition: &str) {
    for _ in 0..120 {
        let all = round(stack).await;
        stack.rows_are(all).await.unwrap();
        let query = format!("SELECT count(*) FROM user_logins WHERE {condition}");
        let mut database = stack.database().await.unwrap();
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_one(&mut database).await.unwrap();
        if row.get::<i64, _>(0) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    unreachable!("no row with {condition}");
}

/// Waits until a line of some service has both texts.
async fn said(stack: &Stack, one: &str, other: &str) {
    let ask = async || {
        let logs = stack.logs().map_err(|error| error.to_string())?;
        let own =
            logs.iter().filter(|(place, _): &&(PathBuf, String)| !is_of(place, stack.postgres.directory()));
        let found =
            own.flat_map(|(_, text)| text.lines()).any(|line| line.contains(one) && line.contains(other));
        found.then_some(()).ok_or_else(|| format!("no line has {one} and {other}"))
    };
    eventually("a line in a log", ask).await.unwrap();
}

fn is_of(place: &Path, directory: &Path) -> bool {
    place.starts_with(directory)
}
