//! The link over a simulated network: real gRPC over connections in memory, with seeded faults and paused
//! time.
//!
//! Names lose and regain addresses, hosts vanish with and without a word, connections fall silent in the
//! middle of a frame, peers answer pings and never a batch, hold some batches back, refuse streams or end
//! them, and certificates expire. After all of it, every batch is answered, and every address is in service.

#![allow(clippy::disallowed_methods, reason = "the simulation's tasks end with the test's runtime")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use veilpost_proto::v1::masker_server::{Masker, MaskerServer};
use veilpost_proto::v1::{RawBatch, RawRecord, Receipt};

use super::driver::run_link_over;
use super::network::{Connection, Network, origin};
use super::{LinkSettings, Outgoing, ToMasker};
use crate::Lifecycle;

/// One run for each.
const SEEDS: u64 = 12;

const HOSTS: u16 = 3;
const STEPS: usize = 50;
const RECEIPT_TIMEOUT: Duration = Duration::from_mins(1);

/// What becomes of the bytes between the link and a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Open,
    /// Nothing arrives, in either direction, and nothing is refused.
    Silent,
    /// Connections are cut and refused.
    Closed,
}

/// What a host does with the batches that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Answers,
    /// Answers pings only.
    SendsNoReceipt,
    /// Answers all batches but some, which it answers when it does so no more.
    HoldsSome,
    EndsStreams,
    RefusesStreams,
}

#[derive(Clone)]
struct Host {
    reach: watch::Sender<Reach>,
    conduct: watch::Sender<Conduct>,
    connections: mpsc::Sender<io::Result<DuplexStream>>,
}

/// The hosts, and which of them the name resolves to.
#[derive(Clone)]
struct SimulatedNetwork {
    hosts: Arc<BTreeMap<SocketAddr, Host>>,
    listed: Arc<Mutex<BTreeSet<SocketAddr>>>,
    rng: Arc<Mutex<Xoshiro256PlusPlus>>,
    /// The hosts that have answered a batch.
    answered: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// Whether certificates expire. Where they do not, no renewal frees a batch that a host keeps for itself.
    renews: bool,
}

impl SimulatedNetwork {
    fn start(seed: u64, tasks: &mut JoinSet<()>) -> Self {
        let answered = Arc::<Mutex<BTreeSet<SocketAddr>>>::default();
        let rng = Arc::new(Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed)));
        let mut hosts = BTreeMap::new();
        for number in 1..=HOSTS {
            let address = SocketAddr::from(([10, 0, 0, 1], number));
            let (connections, incoming) = mpsc::channel(8);
            let conduct = watch::Sender::new(Conduct::Answers);
            let (answered, rng) = (Arc::clone(&answered), Arc::clone(&rng));
            let masker = SimulatedMasker { address, conduct: conduct.clone(), answered, rng };
            tasks.spawn(async move {
                let server = Server::builder().add_service(MaskerServer::new(masker));
                drop(server.serve_with_incoming(ReceiverStream::new(incoming)).await);
            });
            hosts.insert(address, Host { reach: watch::Sender::new(Reach::Open), conduct, connections });
        }
        let listed = Arc::new(Mutex::new(hosts.keys().copied().collect()));
        Self { hosts: Arc::new(hosts), listed, rng, answered, renews: seed.is_multiple_of(2) }
    }

    fn random(&self, below: usize) -> usize {
        self.rng.lock().random_range(0..below)
    }

    /// Something changes at one of the hosts.
    fn change(&self) {
        let nth = self.random(self.hosts.len());
        let Some((address, host)) = self.hosts.iter().nth(nth) else { return };
        match self.random(11) {
            0 => drop(host.reach.send_replace(Reach::Silent)),
            1 => drop(host.reach.send_replace(Reach::Closed)),
            2 | 3 => drop(host.reach.send_replace(Reach::Open)),
            4 => drop(host.conduct.send_replace(Conduct::SendsNoReceipt)),
            5 => drop(host.conduct.send_replace(Conduct::EndsStreams)),
            6 => drop(host.conduct.send_replace(Conduct::RefusesStreams)),
            7 => drop(host.conduct.send_replace(Conduct::Answers)),
            8 => drop(self.listed.lock().remove(address)),
            9 => drop(host.conduct.send_replace(Conduct::HoldsSome)),
            _ => drop(self.listed.lock().insert(*address)),
        }
    }

    fn heal(&self) {
        for (address, host) in self.hosts.iter() {
            host.reach.send_replace(Reach::Open);
            host.conduct.send_replace(Conduct::Answers);
            self.listed.lock().insert(*address);
        }
    }
}

impl Network for SimulatedNetwork {
    async fn look_up(&self, _: &str, _: u16) -> io::Result<BTreeSet<SocketAddr>> {
        match self.random(10) {
            0 => Err(io::Error::other("no answer")),
            _ => Ok(self.listed.lock().clone()),
        }
    }

    async fn connect(&self, address: SocketAddr, _: &str) -> anyhow::Result<Connection> {
        let host = self.hosts.get(&address).cloned().expect("a host of this network");
        let reached = *host.reach.borrow();
        match reached {
            Reach::Open => {}
            Reach::Closed => anyhow::bail!("refused"),
            Reach::Silent => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                anyhow::bail!("no connection in time");
            }
        }
        let (stream, near) = tokio::io::duplex(64 * 1024);
        let (far, of_host) = tokio::io::duplex(64 * 1024);
        tokio::spawn(carry(near, far, host.reach.subscribe()));
        host.connections.send(Ok(of_host)).await?;
        let lifetime = Duration::from_secs(u64::try_from(20 + self.random(300))?);
        let renewal = if self.renews {
            tokio::time::sleep(lifetime).map(|()| "its certificate expires").boxed()
        } else {
            std::future::pending().boxed()
        };
        Ok(Connection { stream: Box::new(stream), origin: origin("http", &address.to_string())?, renewal })
    }
}

/// Carries bytes both ways until one side closes or the host cannot be reached any more.
async fn carry(near: DuplexStream, far: DuplexStream, reach: watch::Receiver<Reach>) {
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let mut closed = reach.clone();
    tokio::select! {
        _ = one_way(near_read, far_write, reach.clone()) => {}
        _ = one_way(far_read, near_write, reach) => {}
        _ = closed.wait_for(|reach| *reach == Reach::Closed) => {}
    }
}

async fn one_way(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut reach: watch::Receiver<Reach>,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        // The end of the network is the end of the test.
        drop(reach.wait_for(|reach| *reach != Reach::Silent).await);
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}

#[derive(Clone)]
struct SimulatedMasker {
    address: SocketAddr,
    conduct: watch::Sender<Conduct>,
    answered: Arc<Mutex<BTreeSet<SocketAddr>>>,
    rng: Arc<Mutex<Xoshiro256PlusPlus>>,
}

/// What the masker says of each record.
fn expected(batch: &RawBatch) -> Vec<u8> {
    batch.records.iter().map(|record| if record.message_id.ends_with('0') { 2 } else { 1 }).collect()
}

#[tonic::async_trait]
impl Masker for SimulatedMasker {
    type MaskStream = ReceiverStream<Result<Receipt, Status>>;

    async fn mask(
        &self,
        request: Request<Streaming<RawBatch>>,
    ) -> Result<Response<Self::MaskStream>, Status> {
        if *self.conduct.borrow() == Conduct::RefusesStreams {
            return Err(Status::failed_precondition("no such column"));
        }
        let (receipts, stream) = mpsc::channel(4);
        tokio::spawn(self.clone().serve(request.into_inner(), receipts));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl SimulatedMasker {
    async fn serve(self, mut batches: Streaming<RawBatch>, receipts: mpsc::Sender<Result<Receipt, Status>>) {
        while let Ok(Some(batch)) = batches.message().await {
            let work = self.rng.lock().random_range(0..300);
            tokio::time::sleep(Duration::from_millis(work)).await;
            let conduct = *self.conduct.borrow();
            if conduct == Conduct::HoldsSome && batch.records.iter().any(is_held) {
                tokio::spawn(self.clone().hold(batch, receipts.clone()));
                continue;
            }
            let answer = match conduct {
                Conduct::SendsNoReceipt => continue,
                Conduct::EndsStreams | Conduct::RefusesStreams => Err(Status::unavailable("draining")),
                Conduct::Answers | Conduct::HoldsSome => {
                    self.answered.lock().insert(self.address);
                    Ok(receipt(&batch))
                }
            };
            if receipts.send(answer).await.is_err() {
                return;
            }
        }
    }
}

impl SimulatedMasker {
    async fn hold(self, batch: RawBatch, receipts: mpsc::Sender<Result<Receipt, Status>>) {
        let mut conduct = self.conduct.subscribe();
        drop(conduct.wait_for(|conduct| *conduct != Conduct::HoldsSome).await);
        drop(receipts.send(Ok(receipt(&batch))).await);
    }
}

fn is_held(record: &RawRecord) -> bool {
    record.message_id.ends_with('3')
}

fn receipt(batch: &RawBatch) -> Receipt {
    Receipt { batch_id: batch.id, outcomes: expected(batch), rejections: Vec::new() }
}

/// What was sent, and where its receipt comes.
struct Sent {
    expected: Vec<u8>,
    receipt: oneshot::Receiver<Receipt>,
}

struct Sender {
    outgoing: mpsc::Sender<Outgoing<RawBatch>>,
    records: usize,
}

impl Sender {
    async fn send(&mut self, records: usize) -> Option<Sent> {
        let record = |number: usize| RawRecord { message_id: format!("m{number}"), ..RawRecord::default() };
        let records_of_batch = (self.records..self.records + records).map(record).collect();
        self.records += records;
        let batch = RawBatch { records: records_of_batch, ..RawBatch::default() };
        let (reply, receipt) = oneshot::channel();
        let expected = expected(&batch);
        // While no stream takes a batch, the link takes none.
        let sending = self.outgoing.send(Outgoing { batch, reply, suspect: false });
        tokio::time::timeout(Duration::from_secs(1), sending).await.ok()?.ok()?;
        Some(Sent { expected, receipt })
    }
}

async fn run(seed: u64) {
    let mut tasks = JoinSet::new();
    let network = SimulatedNetwork::start(seed, &mut tasks);
    let settings = LinkSettings {
        downstream: vec!["http://masker:1".parse().unwrap()],
        resolve_interval: Duration::from_secs(2),
        unreceipted_batches: 3,
        receipt_timeout: RECEIPT_TIMEOUT,
    };
    let (outgoing, source) = mpsc::channel(1);
    let life = Lifecycle::for_tests();
    let link = {
        let (network, life) = (network.clone(), life.clone());
        tokio::spawn(async move { run_link_over(network, ToMasker, source, &settings, false, &life).await })
    };
    let mut sender = Sender { outgoing, records: 0 };
    let mut sent = Vec::new();
    for _ in 0..STEPS {
        network.change();
        for _ in 0..network.random(4) {
            let records = 1 + network.random(3);
            sent.extend(sender.send(records).await);
        }
        let pause = network.random(8_000);
        tokio::time::sleep(Duration::from_millis(u64::try_from(pause).unwrap())).await;
    }
    network.heal();
    every_address_serves(&network, &mut sender, &mut sent, seed).await;
    let batches = sent.len();
    for Sent { expected, receipt } in sent {
        let receipt = tokio::time::timeout(RECEIPT_TIMEOUT * 40, receipt).await;
        let outcomes = receipt.expect("an answer in time").expect("an answer").outcomes;
        assert_eq!(outcomes.len(), expected.len(), "seed {seed}");
        // A record on which streams broke again and again is left.
        let is_right =
            outcomes.iter().zip(&expected).all(|(found, expected)| found == expected || *found == 0);
        assert!(is_right, "seed {seed}: {outcomes:?}, not {expected:?}");
    }
    assert!(batches > 0, "seed {seed}");
    drop(sender);
    let ended = tokio::time::timeout(RECEIPT_TIMEOUT, link).await;
    ended.expect("the link ends when nothing is left").unwrap().unwrap();
    tasks.shutdown().await;
}

/// Sends until each of the hosts, which are well again, has answered.
async fn every_address_serves(
    network: &SimulatedNetwork,
    sender: &mut Sender,
    sent: &mut Vec<Sent>,
    seed: u64,
) {
    network.answered.lock().clear();
    for _ in 0..2_000 {
        if network.answered.lock().len() == network.hosts.len() {
            return;
        }
        sent.extend(sender.send(1).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    unreachable!("seed {seed}: only {:?} are in service", network.answered.lock());
}

#[test]
fn every_batch_is_answered_and_every_address_serves_again_whatever_the_network_does() {
    for seed in 0..SEEDS {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(seed));
    }
}
