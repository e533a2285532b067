//! The whole masker over loopback gRPC: the test plays its reader and its writer.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use veilpost_masker::{Settings, serve};
use veilpost_proto::v1::masker_client::MaskerClient;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::writer_server::{Writer, WriterServer};
use veilpost_proto::v1::{
    Attribute, ConflictAction, MaskedBatch, OnConflict, RawBatch, RawRecord, Receipt, attribute,
};
use veilpost_runtime::{Feature, Lifecycle};

/// A writer that reports every record as stored, and passes on what it got to the test.
struct StoresAll {
    /// What it says it knows.
    knows: Vec<Feature>,
    seen: mpsc::Sender<MaskedBatch>,
    life: Lifecycle,
}

#[tonic::async_trait]
impl Writer for StoresAll {
    type WriteStream = ReceiverStream<Result<Receipt, Status>>;

    async fn write(
        &self,
        request: Request<Streaming<MaskedBatch>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let (receipts, stream) = mpsc::channel(4);
        let (mut batches, seen) = (request.into_inner(), self.seen.clone());
        self.life.spawn("writer", async move {
            while let Ok(Some(batch)) = batches.message().await {
                if batch.target.is_none() {
                    let outcomes = vec![1; batch.records.len()];
                    let receipt = Receipt { batch_id: batch.id, outcomes, rejections: Vec::new() };
                    receipts.send(Ok(receipt)).await?;
                }
                seen.send(batch).await?;
            }
            Ok(())
        });
        let mut response = Response::new(ReceiverStream::new(stream));
        self.knows.iter().for_each(|feature| feature.announce(response.metadata_mut()));
        Ok(response)
    }
}

/// Starts the writer; gives its address and the batches that it gets.
async fn writer(knows: Vec<Feature>, life: &Lifecycle) -> (SocketAddr, mpsc::Receiver<MaskedBatch>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, batches) = mpsc::channel(16);
    let service = WriterServer::new(StoresAll { knows, seen, life: life.clone() });
    let (until, listener) = (life.clone(), TcpListenerStream::new(listener));
    life.spawn("writer", async move {
        let server = Server::builder().add_service(service);
        Ok(server.serve_with_incoming_shutdown(listener, async move { until.draining().await }).await?)
    });
    (address, batches)
}

/// Starts the masker and connects to it once it serves.
async fn masker(
    writer: SocketAddr,
    policy: Option<&Path>,
    life: &Lifecycle,
) -> MaskerClient<tonic::transport::Channel> {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let downstream = format!("http://{writer}");
    let mut arguments = vec!["veilpost-masker", "--listen-address", &address, "--downstream", &downstream];
    if let Some(policy) = policy {
        arguments.extend(["--policy", policy.to_str().unwrap()]);
    }
    let settings = Settings::try_parse_from(arguments).unwrap();
    let of_service = life.clone();
    life.spawn("masker", async move { serve(settings, of_service).await });
    loop {
        match MaskerClient::connect(format!("http://{address}")).await {
            Ok(client) => return client,
            Err(_) if !life.is_draining() => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => unreachable!("the masker did not start: {error}"),
        }
    }
}

fn raw_batch() -> RawBatch {
    let record = |id: &str, body: &str| RawRecord {
        message_id: id.to_owned(),
        body: Some(body.to_owned().into()),
        ..RawRecord::default()
    };
    let records = vec![record("m1", "not json"), record("m2", r#"{"user_id":"u1","ip":"203.0.113.7"}"#)];
    RawBatch { id: 42, pipeline: "logins".to_owned(), records, trace: None, ..RawBatch::default() }
}

#[tokio::test]
async fn records_go_masked_to_the_writer_and_receipts_come_back_until_the_drain() {
    let (writer_life, masker_life) = (Lifecycle::for_tests(), Lifecycle::for_tests());
    let (writer, mut written) = writer(Vec::new(), &writer_life).await;
    let mut client = masker(writer, None, &masker_life).await;
    let (batches, outgoing) = mpsc::channel(4);
    let mut receipts = client.mask(ReceiverStream::new(outgoing)).await.unwrap().into_inner();

    batches.send(raw_batch()).await.unwrap();
    let receipt = receipts.message().await.unwrap().unwrap();
    assert_eq!(
        (receipt.batch_id, receipt.outcomes.as_slice(), receipt.rejections.len()),
        (42, [3, 1].as_slice(), 1)
    );

    let target = written.recv().await.unwrap().target.unwrap();
    assert_eq!((target.table.as_str(), target.columns.len()), ("user_logins", 7));
    let batch = written.recv().await.unwrap();
    assert_eq!((batch.pipeline.as_str(), batch.records.len()), ("logins", 1));
    let masked_ip = &batch.decoded().unwrap()[0].values[2].kind;
    assert!(matches!(masked_ip, Some(Kind::Text(digest)) if digest.len() == 128));

    masker_life.start_drain();
    let end = receipts.message().await.unwrap_err();
    assert_eq!((end.code(), end.message()), (tonic::Code::Unavailable, "draining"));
    drop((batches, client));
    tokio::time::timeout(Duration::from_secs(10), masker_life.tasks_ended()).await.unwrap();
    writer_life.start_drain();
}

const ARRAYS: &str = "table = 't'\n[body]\nrecords = ''\n\
                      [[column]]\nname = 'a'\nsource = '/a'\ntransform = 'copy'\n";

/// A masker with a policy, and a writer that knows only so much.
async fn with_policy(
    policy: &str,
    knows: Vec<Feature>,
    life: &Lifecycle,
) -> (MaskerClient<tonic::transport::Channel>, mpsc::Receiver<MaskedBatch>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), policy).unwrap();
    let (writer, written) = writer(knows, life).await;
    (masker(writer, Some(file.path()), life).await, written)
}

/// Opens streams with a batch until one is refused for good, and gives the refusal.
async fn refusal(client: &mut MaskerClient<tonic::transport::Channel>, batch: RawBatch) -> Status {
    loop {
        let (batches, outgoing) = mpsc::channel(4);
        batches.send(batch.clone()).await.unwrap();
        let status = match client.mask(ReceiverStream::new(outgoing)).await {
            Ok(stream) => stream.into_inner().message().await.unwrap_err(),
            Err(status) => status,
        };
        if status.code() == tonic::Code::FailedPrecondition {
            return status;
        }
    }
}

fn arrays() -> RawBatch {
    let bodies = [r#"[{"a": 1}, {"a": 2}]"#, "[]", r#"{"a": 3}"#];
    let records = bodies.map(|body| RawRecord { body: Some(body.into()), ..RawRecord::default() });
    RawBatch { id: 1, records: records.to_vec(), ..RawBatch::default() }
}

#[tokio::test]
async fn a_writer_that_knows_rows_gets_all_rows_of_a_message_in_one_record() {
    let life = Lifecycle::for_tests();
    let (mut client, mut written) = with_policy(ARRAYS, vec![Feature::Claims, Feature::Rows], &life).await;
    let (batches, outgoing) = mpsc::channel(4);
    let mut receipts = client.mask(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    batches.send(arrays()).await.unwrap();
    assert_eq!(receipts.message().await.unwrap().unwrap().outcomes, [1, 1, 1]);
    assert!(written.recv().await.unwrap().target.is_some());
    let records = written.recv().await.unwrap().decoded().unwrap();
    let rows: Vec<_> = records.iter().map(|record| (record.rows, record.values.len())).collect();
    assert_eq!(rows, [(Some(2), 2), (Some(0), 0), (Some(1), 1)]);
    life.start_drain();
}

/// An older writer would take the rows for too many values. It gets nothing, and the readers are told why.
#[tokio::test]
async fn a_writer_that_does_not_know_rows_gets_none() {
    let life = Lifecycle::for_tests();
    let (mut client, mut written) = with_policy(ARRAYS, vec![Feature::Claims], &life).await;
    let refusal = refusal(&mut client, arrays()).await;
    assert!(refusal.message().contains("several rows of one message; upgrade it"), "{refusal}");
    assert!(written.recv().await.unwrap().target.is_some());
    assert!(written.try_recv().is_err(), "no batch is sent");
    life.start_drain();
}

const UPSERTS: &str = "table = 't'\non_conflict = { key = ['a'], do = 'update', newer_by = 'b' }\n\
                       [[column]]\nname = 'a'\nsource = '/a'\ntransform = 'copy'\n\
                       [[column]]\nname = 'b'\nsource = '/b'\ntransform = 'copy'\n";

fn upserts() -> RawBatch {
    let record = RawRecord { body: Some(r#"{"a": 1, "b": 2}"#.into()), ..RawRecord::default() };
    RawBatch { id: 1, records: vec![record], ..RawBatch::default() }
}

#[tokio::test]
async fn a_writer_that_knows_on_conflict_gets_it_with_the_target() {
    let life = Lifecycle::for_tests();
    let (mut client, mut written) =
        with_policy(UPSERTS, vec![Feature::Claims, Feature::Upserts], &life).await;
    let (batches, outgoing) = mpsc::channel(4);
    let mut receipts = client.mask(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    batches.send(upserts()).await.unwrap();
    assert_eq!(receipts.message().await.unwrap().unwrap().outcomes, [1]);
    let target = written.recv().await.unwrap().target.unwrap();
    let update = ConflictAction::Update.into();
    let expected = OnConflict { key: vec!["a".to_owned()], action: update, newer_by: "b".to_owned() };
    assert_eq!(target.on_conflict, Some(expected));
    life.start_drain();
}

/// An older writer skips the field: each second event of a key would be rejected.
#[tokio::test]
async fn a_writer_that_does_not_know_on_conflict_gets_no_batch() {
    let life = Lifecycle::for_tests();
    let (mut client, mut written) = with_policy(UPSERTS, vec![Feature::Claims, Feature::Rows], &life).await;
    let refusal = refusal(&mut client, upserts()).await;
    assert!(refusal.message().contains("does not know on_conflict; upgrade it"), "{refusal}");
    assert!(written.recv().await.unwrap().target.is_some());
    assert!(written.try_recv().is_err(), "no batch is sent");
    life.start_drain();
}

#[tokio::test]
async fn a_policy_without_on_conflict_asks_no_writer_for_it() {
    let life = Lifecycle::for_tests();
    let (_, rule) = UPSERTS.split_once('\n').unwrap();
    let (rule, _) = rule.split_once('\n').unwrap();
    let without = UPSERTS.replace(rule, "");
    let (mut client, mut written) = with_policy(&without, vec![Feature::Claims], &life).await;
    let (batches, outgoing) = mpsc::channel(4);
    let mut receipts = client.mask(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    batches.send(upserts()).await.unwrap();
    assert_eq!(receipts.message().await.unwrap().unwrap().outcomes, [1]);
    assert_eq!(written.recv().await.unwrap().target.unwrap().on_conflict, None);
    life.start_drain();
}

/// An older reader does not send attributes: each would be taken for absent, without a word.
#[tokio::test]
async fn a_policy_that_reads_attributes_takes_no_stream_without_them() {
    let life = Lifecycle::for_tests();
    let policy = tempfile::NamedTempFile::new().unwrap();
    let column = "table = 't'\n[[column]]\nname = 'a'\nattribute = 'tenant'\ntransform = 'copy'\n";
    std::fs::write(policy.path(), column).unwrap();
    let (writer, mut written) = writer(vec![Feature::Claims], &life).await;
    let mut client = masker(writer, Some(policy.path()), &life).await;
    let open = |announces: bool| {
        let (batches, outgoing) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if announces {
            Feature::Attributes.announce(request.metadata_mut());
        }
        (batches, request)
    };
    let (_, request) = open(false);
    let refusal = client.mask(request).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::FailedPrecondition, "{refusal}");
    assert!(refusal.message().contains("message attributes"), "{refusal}");
    let (batches, request) = open(true);
    let mut receipts = client.mask(request).await.unwrap().into_inner();
    let tenant =
        Attribute { name: "tenant".to_owned(), value: Some(attribute::Value::Text("acme".to_owned())) };
    let record = RawRecord { body: Some("{}".into()), attributes: vec![tenant], ..RawRecord::default() };
    batches.send(RawBatch { records: vec![record], ..RawBatch::default() }).await.unwrap();
    assert_eq!(receipts.message().await.unwrap().unwrap().outcomes, [1]);
    assert!(written.recv().await.unwrap().target.is_some());
    let stored = written.recv().await.unwrap().decoded().unwrap();
    assert_eq!(stored[0].values[0].kind, Some(Kind::Text("acme".to_owned())));
    life.start_drain();
}
