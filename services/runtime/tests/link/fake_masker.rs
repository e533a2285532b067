//! A masker that the test controls step by step, on a runtime of its own so that it can be killed like a
//! process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use veilpost_proto::v1::masker_server::{Masker, MaskerServer};
use veilpost_proto::v1::{RawBatch, Receipt};

use super::TIMEOUT;

pub(crate) struct FakeMasker {
    address: SocketAddr,
    runtime: Option<Runtime>,
    streams: mpsc::Receiver<FakeStream>,
    refusals: Arc<RefusalCounts>,
}

#[derive(Default)]
struct RefusalCounts {
    left: AtomicUsize,
    made: AtomicUsize,
}

/// One accepted stream: what came in and what goes back.
pub(crate) struct FakeStream {
    batches: Streaming<RawBatch>,
    receipts: mpsc::Sender<Result<Receipt, Status>>,
}

impl FakeMasker {
    pub(crate) fn start() -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn start_on(address: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, streams) = mpsc::channel(8);
        let refusals = Arc::<RefusalCounts>::default();
        let service = MaskerServer::new(Scripted { streams: sender, refusals: Arc::clone(&refusals) });
        let guard = runtime.enter();
        let incoming = bind(address);
        let address = incoming.local_addr().unwrap();
        drop(guard);
        let server = Server::builder().add_service(service).serve_with_incoming(incoming);

        drop(runtime.spawn(server));
        Self { address, runtime: Some(runtime), streams, refusals }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every task at once, as a killed process would: connections are cut without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// A new masker at the address of this one.
    pub(crate) fn restart(mut self) -> Self {
        self.kill();
        Self::start_on(self.address)
    }

    /// Refuses the next `count` streams.
    pub(crate) fn refuse(&self, count: usize) {
        self.refusals.left.store(count, Ordering::SeqCst);
    }

    pub(crate) fn refused(&self) -> usize {
        self.refusals.made.load(Ordering::SeqCst)
    }

    /// The next stream that a link opens.
    pub(crate) async fn stream(&mut self) -> FakeStream {
        timeout(TIMEOUT, self.streams.recv()).await.unwrap().unwrap()
    }
}

/// Listens, once a killed predecessor has let go of the address.
fn bind(address: SocketAddr) -> TcpIncoming {
    let begun = Instant::now();
    loop {
        match TcpIncoming::bind(address) {
            Ok(incoming) => return incoming,
            Err(error) => assert!(begun.elapsed() < TIMEOUT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for FakeMasker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl FakeStream {
    /// The next batch, or nothing when the stream is over.
    pub(crate) async fn next(&mut self) -> Option<RawBatch> {
        timeout(TIMEOUT, self.batches.message()).await.unwrap().ok().flatten()
    }

    pub(crate) async fn batch(&mut self) -> RawBatch {
        self.next().await.unwrap()
    }

    pub(crate) async fn answer(&self, batch: &RawBatch, outcomes: &[u8]) {
        let receipt = Receipt { batch_id: batch.id, outcomes: outcomes.to_vec(), rejections: Vec::new() };
        self.receipts.send(Ok(receipt)).await.unwrap();
    }

    pub(crate) async fn end(self, status: Status) {
        self.receipts.send(Err(status)).await.unwrap();
    }
}

struct Scripted {
    streams: mpsc::Sender<FakeStream>,
    refusals: Arc<RefusalCounts>,
}

#[tonic::async_trait]
impl Masker for Scripted {
    type MaskStream = ReceiverStream<Result<Receipt, Status>>;

    async fn mask(
        &self,
        request: Request<Streaming<RawBatch>>,
    ) -> Result<Response<Self::MaskStream>, Status> {
        let refuse = |left: usize| left.checked_sub(1);
        if self.refusals.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
            self.refusals.made.fetch_add(1, Ordering::SeqCst);
            return Err(Status::failed_precondition("unknown column"));
        }
        let (receipts, outgoing) = mpsc::channel(8);
        let stream = FakeStream { batches: request.into_inner(), receipts };
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}
