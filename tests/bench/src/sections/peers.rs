//! The services' neighbours, played as lightly as can be.

use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use veilpost_proto::v1::masker_server::{Masker, MaskerServer};
use veilpost_proto::v1::writer_server::{Writer, WriterServer};
use veilpost_proto::v1::{MaskedBatch, Outcome, RawBatch, Receipt};

/// As a link has by default.
const UNRECEIPTED: usize = 3;

type Receipts = Pin<Box<dyn Stream<Item = Result<Receipt, Status>> + Send>>;

/// Says "stored" to everything, at once.
#[derive(Clone, Copy, Debug)]
struct YesMan;

#[tonic::async_trait]
impl Writer for YesMan {
    type WriteStream = Receipts;

    async fn write(&self, request: Request<Streaming<MaskedBatch>>) -> Result<Response<Receipts>, Status> {
        let batches = request.into_inner().filter(|batch| {
            let has_records = batch.as_ref().map_or(true, |batch| batch.target.is_none());
            std::future::ready(has_records)
        });
        Ok(Response::new(Box::pin(
            batches.map(|batch| batch.map(|batch| stored(batch.id, batch.records.len()))),
        )))
    }
}

#[tonic::async_trait]
impl Masker for YesMan {
    type MaskStream = Receipts;

    async fn mask(&self, request: Request<Streaming<RawBatch>>) -> Result<Response<Receipts>, Status> {
        let batches = request.into_inner();
        Ok(Response::new(Box::pin(
            batches.map(|batch| batch.map(|batch| stored(batch.id, batch.records.len()))),
        )))
    }
}

fn stored(batch_id: u64, records: usize) -> Receipt {
    Receipt { batch_id, outcomes: vec![Outcome::Stored.byte(); records], rejections: Vec::new() }
}

/// A masker and a writer in one that keep nothing. Dropping it ends the server.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    _server: JoinSet<Result<(), tonic::transport::Error>>,
}

impl Sink {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut server = JoinSet::new();
        // With the services' own limits.
        server.spawn(
            Server::builder()
                .initial_stream_window_size(1024 * 1024)
                .initial_connection_window_size(2 * 1024 * 1024)
                .max_frame_size(256 * 1024)
                .add_service(MaskerServer::new(YesMan))
                .add_service(WriterServer::new(YesMan))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
        );
        Ok(Self { address, _server: server })
    }
}

/// Sends batches with never more than [`UNRECEIPTED`] on their way; returns how many records were stored.
///
/// `open` opens the stream of requests and gives that of receipts.
pub(crate) async fn exchange<B: Send + Sync + 'static>(
    batches: Vec<B>,
    open: impl AsyncFnOnce(ReceiverStream<B>) -> Result<Streaming<Receipt>, Status>,
) -> anyhow::Result<u64> {
    let count = batches.len();
    let (sender, stream) = mpsc::channel(UNRECEIPTED + 1);
    let mut batches = batches.into_iter();
    // A server may answer with headers only once it has the first message.
    if let Some(first) = batches.next() {
        sender.send(first).await?;
    }
    let mut receipts = open(ReceiverStream::new(stream)).await?;
    let (mut sent, mut received, mut stored) = (1, 0, 0);
    while received < count {
        while sent - received < UNRECEIPTED
            && let Some(batch) = batches.next()
        {
            sender.send(batch).await?;
            sent += 1;
        }
        let receipt = receipts.message().await?;
        let receipt = receipt.ok_or_else(|| anyhow::anyhow!("the stream ended before its receipts"))?;
        let yes = Outcome::Stored.byte();
        stored += receipt.outcomes.into_iter().map(|outcome| u64::from(outcome == yes)).sum::<u64>();
        received += 1;
    }
    Ok(stored)
}
