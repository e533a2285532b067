//! A TCP proxy that can lose what the upstream answers: what a failing network does to a hop.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on to one address. Dropping it cuts them all.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    answers_pass: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub async fn before(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (answers_pass, passing) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, passing));
        Ok(Self { address, answers_pass, _tasks: tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on what the upstream says is lost; what it is told still gets through.
    pub fn lose_answers(&self) {
        self.answers_pass.send_replace(false);
    }

    /// From now on answers pass again, on new connections: one that has lost some is cut.
    pub fn pass_answers(&self) {
        self.answers_pass.send_replace(true);
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, passing: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((downstream, _)) = listener.accept().await {
        connections.spawn(pass(downstream, upstream, passing.clone()));
    }
}

/// Ends both directions as soon as one is over.
async fn pass(downstream: TcpStream, upstream: SocketAddr, passing: watch::Receiver<bool>) {
    let Ok(upstream) = TcpStream::connect(upstream).await else { return };
    let (mut from_client, mut to_client) = downstream.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let answers = async move {
        let mut buffer = vec![0; 16 * 1024];
        let mut lost = false;
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let Some(answer) = buffer.get(..read) else { return };
            lost |= !*passing.borrow();
            if !lost && to_client.write_all(answer).await.is_err() {
                return;
            }
            if lost && *passing.borrow() {
                return;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        _ = copy(&mut from_client, &mut to_server) => {}
    }
}
