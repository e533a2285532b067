//! A masker that answers as a script tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use veilpost_proto::v1::masker_server::{Masker, MaskerServer};
use veilpost_proto::v1::{Outcome, RawBatch, RawRecord, Reason, Receipt, Rejection};

/// The answer to a batch, when it comes.
pub(crate) type ScriptedAnswer = BoxFuture<'static, Vec<Verdict>>;
type Script = Arc<dyn Fn(RawBatch) -> ScriptedAnswer + Send + Sync>;

/// What the script answers for one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Is(Outcome),
    Rejected(Reason, &'static str),
}

pub(crate) const STORED: Verdict = Verdict::Is(Outcome::Stored);

pub(crate) struct ScriptedMasker {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<RawBatch>>>,
    _tasks: JoinSet<()>,
}

impl ScriptedMasker {
    /// A masker that answers each record with what `verdict` returns.
    pub(crate) async fn start(verdict: impl Fn(&RawRecord) -> Verdict + Send + Sync + 'static) -> Self {
        Self::scripted(move |batch| {
            let verdicts = batch.records.iter().map(&verdict).collect();
            Box::pin(async { verdicts })
        })
        .await
    }

    pub(crate) async fn scripted(
        script: impl Fn(RawBatch) -> ScriptedAnswer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<RawBatch>>>::default();
        let service = ScriptedService { script: Arc::new(script), seen: Arc::clone(&seen) };
        let server = Server::builder()
            .add_service(MaskerServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut tasks = JoinSet::new();
        tasks.spawn(async { server.await.unwrap() });
        Self { address, seen, _tasks: tasks }
    }

    /// All batches that have come, in order.
    pub(crate) fn batches(&self) -> Vec<RawBatch> {
        self.seen.lock().unwrap().clone()
    }

    /// All records that have come, in order.
    pub(crate) fn records(&self) -> Vec<RawRecord> {
        self.batches().into_iter().flat_map(|batch| batch.records).collect()
    }
}

struct ScriptedService {
    script: Script,
    seen: Arc<Mutex<Vec<RawBatch>>>,
}

#[tonic::async_trait]
impl Masker for ScriptedService {
    type MaskStream = ReceiverStream<Result<Receipt, Status>>;

    async fn mask(
        &self,
        request: Request<Streaming<RawBatch>>,
    ) -> Result<Response<Self::MaskStream>, Status> {
        let (sender, receiver) = mpsc::channel(100);
        let (script, seen) = (Arc::clone(&self.script), Arc::clone(&self.seen));
        let mut batches = request.into_inner();
        // The stream's task ends with its peer or with the test's runtime.
        #[allow(clippy::disallowed_methods, reason = "a double has no set that waits for it")]
        let _task = tokio::spawn(async move {
            let mut answers = JoinSet::new();
            while let Ok(Some(batch)) = batches.message().await {
                seen.lock().unwrap().push(batch.clone());
                let (id, answer, sender) = (batch.id, script(batch), sender.clone());
                answers.spawn(async move {
                    let verdicts = answer.await;
                    let _gone = sender.send(Ok(receipt(id, &verdicts))).await;
                });
            }
            while answers.join_next().await.is_some() {}
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn receipt(batch_id: u64, verdicts: &[Verdict]) -> Receipt {
    let outcome = |verdict: &Verdict| match verdict {
        Verdict::Is(outcome) => *outcome,
        Verdict::Rejected(..) => Outcome::Rejected,
    };
    let rejection = |(index, verdict): (u32, &Verdict)| match verdict {
        Verdict::Is(_) => None,
        Verdict::Rejected(reason, detail) => {
            Some(Rejection { index, reason: (*reason).into(), detail: (*detail).to_owned() })
        }
    };
    Receipt {
        batch_id,
        outcomes: verdicts.iter().map(|verdict| u8::try_from(i32::from(outcome(verdict))).unwrap()).collect(),
        rejections: (0..).zip(verdicts).filter_map(rejection).collect(),
    }
}
