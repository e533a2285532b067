//! Peers that break the contract are refused, and other peers do not notice.

use std::time::Duration;

use veilpost_testkit::{GrpcFrame, Stack, UnfinishedStreams, refused_streams, send_frames};

const MASK: &str = "/veilpost.v1.Masker/Mask";
const WRITE: &str = "/veilpost.v1.Writer/Write";

const CHECK: &str = "/grpc.health.v1.Health/Check";

const INVALID_ARGUMENT: i32 = 3;
const OUT_OF_RANGE: i32 = 11;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;

/// What a service may take at its peak, in a build without optimisation and while it is attacked.
const PEAK_BYTES: u64 = 200 << 20;

/// `gzip` of a proper message, so that it is the compression that is refused.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xe3\x60\x07\x00\x54\x0d\x64\x17\x02\x00\x00\x00";

/// Millions of empty records: four megabytes on the wire, hundreds in memory.
fn empty_records() -> GrpcFrame {
    GrpcFrame::of([0x1a, 0].repeat(2 * 1024 * 1024 - 64))
}

/// What no proper peer says: its name, how it is announced, itself, and the statuses with which it may be
/// refused.
type Attack = (&'static str, &'static [(&'static str, &'static str)], GrpcFrame, &'static [i32]);

fn attacks() -> Vec<Attack> {
    let gzip = GrpcFrame { compressed: true, ..GrpcFrame::of(GZIP) };
    vec![
        ("no protobuf", &[], GrpcFrame::of("\u{7f}no protobuf at all"), &[INTERNAL]),
        (
            "a length that is too long",
            &[],
            GrpcFrame { claimed: 3 << 20, ..GrpcFrame::of("abc") },
            &[INTERNAL],
        ),
        (
            "a length of four gigabytes",
            &[],
            GrpcFrame { claimed: u32::MAX, ..GrpcFrame::of("abc") },
            &[OUT_OF_RANGE],
        ),
        (
            "a length that is too short",
            &[],
            GrpcFrame { claimed: 1, ..GrpcFrame::of(vec![0x80; 64]) },
            &[INTERNAL, OUT_OF_RANGE],
        ),
        ("more than gRPC's limit", &[], GrpcFrame::of(vec![0; 5 << 20]), &[OUT_OF_RANGE]),
        (
            "a record longer than its batch",
            &[],
            GrpcFrame::of(vec![0x1a, 0xff, 0xff, 0xff, 0x7f, 1]),
            &[INTERNAL],
        ),
        ("gzip", &[("grpc-encoding", "gzip")], gzip.clone(), &[UNIMPLEMENTED]),
        ("zstd", &[("grpc-encoding", "zstd")], gzip.clone(), &[UNIMPLEMENTED]),
        ("gzip that is not announced", &[], gzip, &[INTERNAL]),
        ("millions of empty records", &[], empty_records(), &[INVALID_ARGUMENT]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_lie_are_refused_and_their_neighbours_are_served() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap();
    let masker = stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("before-", 200).await.unwrap();
    for (address, path) in [(masker, MASK), (writer, WRITE)] {
        for (what, headers, frame, statuses) in attacks() {
            let status = send_frames(address, path, headers, &[frame]).await.unwrap();
            assert!(status.is_some_and(|status| statuses.contains(&status)), "{path}, {what}: {status:?}");
        }
        let elsewhere =
            send_frames(address, "/veilpost.v1.Admin/Stop", &[], &[GrpcFrame::of("")]).await.unwrap();
        assert_eq!(elsewhere, Some(UNIMPLEMENTED));
    }
    stack.send_logins("after-", 200).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.rows_are(400).await.unwrap();
    for service in stack.maskers.iter().chain(&stack.writers) {
        // Elsewhere than on Linux nothing is known.
        let peak = service.peak_memory().unwrap_or_default();
        assert!(peak < PEAK_BYTES, "{} took {peak} bytes", service.name());
    }
    stack.stop().await.unwrap();
    for (file, log) in stack.logs().unwrap() {
        assert!(!log.contains("panicked"), "a panic in {}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_unfinished_messages_keep_no_other_client_out() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    let masker = stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(masker).await.unwrap();
        // The preface of HTTP/2 and no more than the beginning of a frame.
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x40")
            .await
            .unwrap();
        held.push(stream);
    }
    stack.send_logins("a-", 50).await.unwrap();
    tokio::time::timeout(Duration::from_mins(1), stack.rows_are(50)).await.unwrap().unwrap();
    stack.stop().await.unwrap();
    drop(held);
}

/// What each connection may add for what HTTP/2 itself has received and nobody has read.
const CONNECTION_BYTES: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn half_messages_on_many_streams_take_bounded_memory_of_every_service_of_a_port() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap();
    let masker = stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("before-", 50).await.unwrap();
    stack.rows_are(50).await.unwrap();
    let peaks = |stack: &Stack| -> Vec<u64> {
        stack.maskers.iter().chain(&stack.writers).map(|one| one.peak_memory().unwrap_or_default()).collect()
    };
    let before = peaks(&stack);
    let mut held = Vec::new();
    for (address, path) in [(masker, MASK), (masker, CHECK), (writer, WRITE), (writer, CHECK)] {
        let mut streams = UnfinishedStreams::connect(address).await.unwrap();
        // The client itself waits once it knows the limit.
        for _ in 0..100 {
            if streams.open(path).await.is_err() {
                break;
            }
        }
        streams.send_parts(4 << 20, (4 << 20) - 1).await;
        held.push(streams);
    }
    stack.send_logins("after-", 50).await.unwrap();
    tokio::time::timeout(Duration::from_mins(1), stack.rows_are(100)).await.unwrap().unwrap();
    for (before, after) in before.iter().zip(peaks(&stack)) {
        let taken = after.saturating_sub(*before);
        // Two connections, the messages' own budget, and twice as much again for what the records of the test
        // take.
        assert!(taken < 2 * CONNECTION_BYTES + ((3 * 16) << 20), "{taken} bytes more");
    }
    drop(held);
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_opened_and_reset_again_and_again_take_nothing_from_others() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap();
    let masker = stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    for (address, path) in [(masker, MASK), (writer, WRITE)] {
        let mut streams = UnfinishedStreams::connect(address).await.unwrap();
        for _ in 0..5_000 {
            // The peer may close the connection for it.
            if streams.open(path).await.is_err() {
                break;
            }
            streams.reset();
        }
    }
    stack.send_logins("a-", 50).await.unwrap();
    tokio::time::timeout(Duration::from_mins(1), stack.rows_are(50)).await.unwrap().unwrap();
    for service in stack.maskers.iter().chain(&stack.writers) {
        assert!(service.peak_memory().unwrap_or_default() < PEAK_BYTES);
    }
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_four_streams_of_whatever_service_and_further_ones_are_refused() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap();
    let masker = stack.start_masker(&[]).await.unwrap();
    for (address, path) in [(masker, MASK), (masker, CHECK), (writer, WRITE), (writer, CHECK)] {
        // More refused ones would close the connection, as a test beside this one shows.
        assert_eq!(refused_streams(address, path, 10).await.unwrap(), 6, "{path}");
    }
    stack.stop().await.unwrap();
}
