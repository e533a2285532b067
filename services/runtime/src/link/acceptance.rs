//! Whether the peers accept what streams are opened with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// What the peers last said of what this side opens its streams with.
///
/// A peer that is away says nothing, so its last answer counts until its address leaves the look-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    /// No peer has answered yet.
    #[default]
    Unknown,
    /// At least one peer accepts it.
    Accepted,
    /// At least one peer refuses it and none accepts it; with what a refusal says.
    Refused(Arc<str>),
}

/// Gathers the answers of all peers; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Answers(Arc<AnswersState>);

#[derive(Debug)]
struct AnswersState {
    /// By address: the reason of a refusal, or `None` where the peer accepts.
    last: Mutex<BTreeMap<SocketAddr, Option<Arc<str>>>>,
    current: watch::Sender<Acceptance>,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self(Arc::new(AnswersState { last: Mutex::default(), current: watch::Sender::default() }))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Acceptance> {
        self.0.current.subscribe()
    }

    /// Notes what a peer says: `Some` with its reason when it refuses.
    pub(super) fn note(&self, address: SocketAddr, refusal: Option<&str>) {
        self.change(|last| {
            last.insert(address, refusal.map(Arc::from));
        });
    }

    /// Forgets a peer whose address has left the look-up.
    pub(super) fn forget(&self, address: SocketAddr) {
        self.change(|last| {
            last.remove(&address);
        });
    }

    /// Without any answer, for example because all peers are being replaced, it stays as it was.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<SocketAddr, Option<Arc<str>>>)) {
        let mut last = self.0.last.lock();
        change(&mut last);
        let is_accepted = last.values().any(Option::is_none);
        let refused = last.values().flatten().next().cloned();
        let found = match refused {
            _ if is_accepted => Acceptance::Accepted,
            Some(reason) => Acceptance::Refused(reason),
            None => return,
        };
        self.0.current.send_if_modified(|current| {
            let is_new = *current != found;
            *current = found;
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn one_peer_that_accepts_is_enough_and_a_refusal_by_all_is_one() {
        let answers = Answers::new();
        let acceptance = answers.watch();
        assert_eq!(*acceptance.borrow(), Acceptance::Unknown);
        answers.note(address(1), Some("no column a"));
        assert_eq!(*acceptance.borrow(), Acceptance::Refused("no column a".into()));
        answers.note(address(2), None);
        assert_eq!(*acceptance.borrow(), Acceptance::Accepted);
        answers.note(address(2), Some("no column a"));
        assert_eq!(*acceptance.borrow(), Acceptance::Refused("no column a".into()));
        answers.note(address(1), None);
        assert_eq!(*acceptance.borrow(), Acceptance::Accepted);
    }

    #[test]
    fn peers_that_go_away_change_nothing_until_others_answer() {
        let answers = Answers::new();
        let acceptance = answers.watch();
        answers.note(address(1), None);
        answers.forget(address(1));
        assert_eq!(*acceptance.borrow(), Acceptance::Accepted, "all writers are being replaced");
        answers.note(address(2), Some("no table"));
        assert_eq!(*acceptance.borrow(), Acceptance::Refused("no table".into()));
        answers.forget(address(2));
        assert_eq!(*acceptance.borrow(), Acceptance::Refused("no table".into()));
        answers.note(address(3), None);
        assert_eq!(*acceptance.borrow(), Acceptance::Accepted);
    }
}
