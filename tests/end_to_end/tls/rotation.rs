//! Certificates that are replaced or run out while records flow.

use std::time::{Duration, SystemTime};

use veilpost_local::certificates::{Authority, CertificateRequest, Role};
use veilpost_testkit::{Stack, eventually};

use super::pipeline::{files, says, stack};

const ROLES: [Role; 3] = Role::ALL;

/// Waits until the services have taken over their files `times` times each.
async fn replaced(stack: &Stack, times: usize) {
    for service in stack.readers.iter().chain(&stack.maskers).chain(&stack.writers) {
        let ask = async || {
            let log = std::fs::read_to_string(service.log_file()).unwrap();
            match log.matches("certificate replaced").count() {
                count if count >= times => Ok(()),
                count => Err(format!("{} has done so {count} times: {}", service.name(), service.log_tail())),
            }
        };
        eventually("certificates taken over", ask).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_ca_loses_nothing_and_needs_no_restart() {
    let mut stack = stack().await;
    for _ in 0..2 {
        stack.start_writer(&[]).await.unwrap();
    }
    stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[("--batch-records", "20")]).await.unwrap();
    let new = Authority::new("New CA").unwrap();

    stack.send_logins("a-", 500).await.unwrap();
    for role in ROLES {
        files(&stack, role).trust(&[&stack.pki.as_ref().unwrap().ca, &new]).unwrap();
    }
    stack.send_logins("b-", 500).await.unwrap();
    replaced(&stack, 1).await;
    for role in ROLES {
        files(&stack, role).replace(&new.issue(&role.request(&[])).unwrap()).unwrap();
    }
    stack.send_logins("c-", 500).await.unwrap();
    replaced(&stack, 2).await;
    // By now every stream has been opened again, or will be before its peer stops trusting it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for role in ROLES {
        files(&stack, role).trust(&[&new]).unwrap();
    }
    stack.send_logins("d-", 500).await.unwrap();
    replaced(&stack, 3).await;
    stack.send_logins("e-", 500).await.unwrap();
    stack.queue_is_empty().await.unwrap();

    assert_eq!(stack.rows().await.unwrap(), 2500);
    assert_eq!(stack.count("SELECT count(DISTINCT user_id) FROM user_logins").await.unwrap(), 2500);
    says(&stack.readers[0], &["replacing the stream", "replaced"]).await;
    for service in stack.readers.iter_mut().chain(&mut stack.maskers) {
        let resent = service.metrics().await.unwrap().sum("veilpost_link_resent_records_total", &[]);
        assert!(resent.abs() < 0.5, "{resent} records of {} were sent twice", service.name());
    }
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn half_written_files_are_logged_once_and_the_last_good_ones_stay_in_use() {
    let mut stack = stack().await;
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    let masker = files(&stack, Role::Masker);
    let issued = stack.pki.as_ref().unwrap().ca.issue(&Role::Masker.request(&[])).unwrap();
    let (half, _) = issued.key.split_at(issued.key.len() / 2);
    std::fs::write(masker.key(), half).unwrap();
    says(&stack.maskers[0], &["cannot be used", "keeping the last good ones"]).await;
    stack.send_logins("user-", 100).await.unwrap();
    stack.rows_are(100).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(says(&stack.maskers[0], &["cannot be used"]).await, 1);
    masker.replace(&issued).unwrap();
    says(&stack.maskers[0], &["certificate replaced"]).await;
    stack.send_logins("more-", 100).await.unwrap();
    stack.rows_are(200).await.unwrap();
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_certificate_runs_out_waits_for_another_one_and_loses_nothing() {
    let mut stack = stack().await;
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let request = Role::Reader.request(&[]);
    let brief =
        CertificateRequest { not_after: SystemTime::now() + Duration::from_secs(12), ..request.clone() };
    let reader = stack.pki.as_ref().unwrap().files_named("reader", &brief).unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("before-", 100).await.unwrap();
    stack.rows_are(100).await.unwrap();
    says(&stack.readers[0], &["own certificate has expired"]).await;
    says(&stack.maskers[0], &["refused", "expired", "DNS:veilpost-reader"]).await;
    stack.send_logins("meanwhile-", 100).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stack.rows().await.unwrap(), 100);
    reader.replace(&stack.pki.as_ref().unwrap().ca.issue(&request).unwrap()).unwrap();
    stack.rows_are(200).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();
}
