//! Accepts connections on loopback and serves each one in a task of its own.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Dropping it ends all connections.
#[derive(Debug)]
pub(crate) struct Acceptor {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Acceptor {
    /// Listens on a free port and gives every connection to `serve`.
    pub(crate) async fn start<Serving>(
        serve: impl Fn(TcpStream) -> Serving + Send + 'static,
    ) -> anyhow::Result<Self>
    where
        Serving: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(serve(connection));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
