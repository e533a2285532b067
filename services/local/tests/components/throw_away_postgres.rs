//! A throw-away Postgres starts, survives a restart, and leaves nothing behind.

use std::path::Path;

use sqlx::{Connection, PgConnection};
use veilpost_local::postgres::{ThrowAwayPostgres, find_or_install};

async fn start() -> ThrowAwayPostgres {
    ThrowAwayPostgres::start(find_or_install(|_| ()).await.unwrap()).await.unwrap()
}

async fn setting(postgres: &ThrowAwayPostgres, name: &str) -> String {
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn a_dropped_server_and_its_directory_are_gone() {
    let postgres = start().await;
    let (pid, directory) = (postgres.pid(), postgres.directory().to_owned());
    assert_eq!(setting(&postgres, "fsync").await, "on");
    assert!(directory.join("data/postmaster.pid").exists());

    drop(postgres);
    assert!(!directory.exists());
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
}

#[tokio::test]
async fn data_survives_a_restart_and_a_crash() {
    let mut postgres = start().await;
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::raw_sql("create table kept (n integer); insert into kept values (7)")
        .execute(&mut connection)
        .await
        .unwrap();

    postgres.stop().await.unwrap();
    assert!(PgConnection::connect(&postgres.url()).await.is_err());
    postgres.start_again().await.unwrap();
    postgres.server().kill();
    postgres.start_again().await.unwrap();

    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    let kept: i32 = sqlx::query_scalar("select n from kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(kept, 7);
}

#[tokio::test]
async fn nobody_connects_without_the_password() {
    let postgres = start().await;
    let without = format!("postgres://postgres:wrong@127.0.0.1:{}/postgres", postgres.port());
    assert!(PgConnection::connect(&without).await.is_err());
}
