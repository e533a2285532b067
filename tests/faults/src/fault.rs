//! Everything that is done to Veilpost, by what it is done to.

use std::fmt;
use std::time::Duration;

use veilpost_testkit::SqsFault;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Sqs(SqsCall, SqsFault),
    Network(Hop, Trouble),
    Process(Role, Blow),
    Postgres(Outage),
}

/// The calls that the reader makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqsCall {
    Receive,
    Delete,
    Extend,
    /// To the dead-letter queue.
    Send,
    /// All of them, for a while.
    Every,
}

/// Where a TCP proxy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    Masker,
    Writer,
    Postgres,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Slow,
    Reset,
    HalfOpen,
    Silent,
    AnswersLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Reader,
    Masker,
    Writer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGKILL, then started again.
    Kill,
    /// SIGKILL to every replica at once.
    KillAll,
    /// SIGSTOP, later SIGCONT.
    Hang,
    /// SIGTERM, exit status 0, then started again.
    Terminate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    ImmediateShutdown,
    Restart,
    BackendsTerminated,
    BackendsFrozen,
    ConnectionLimit,
    TableLocked,
    StatementTimeout,
    ReadOnly,
    DiskFull,
}

/// Stands where a schedule gives the length.
const SOME: Duration = Duration::ZERO;

const RECEIVES: [SqsFault; 10] = [
    SqsFault::Delay(SOME),
    SqsFault::Unavailable,
    SqsFault::InternalError,
    SqsFault::Throttled,
    SqsFault::Garbage,
    SqsFault::Reset,
    SqsFault::AnswerLost,
    SqsFault::Hang(SOME),
    SqsFault::DeliverTwice,
    SqsFault::Redeliver,
];

const DELETES: [SqsFault; 10] = [
    SqsFault::Delay(SOME),
    SqsFault::Unavailable,
    SqsFault::InternalError,
    SqsFault::Throttled,
    SqsFault::Reset,
    SqsFault::AnswerLost,
    SqsFault::Hang(SOME),
    SqsFault::EntriesRefused,
    SqsFault::EntriesMisreported,
    SqsFault::HandlesRefused,
];

const EXTENSIONS: [SqsFault; 4] =
    [SqsFault::Throttled, SqsFault::AnswerLost, SqsFault::EntriesRefused, SqsFault::HandlesRefused];

const SENDS: [SqsFault; 7] = [
    SqsFault::Delay(SOME),
    SqsFault::Unavailable,
    SqsFault::Throttled,
    SqsFault::Garbage,
    SqsFault::Reset,
    SqsFault::AnswerLost,
    SqsFault::EntriesRefused,
];

const EVERY: [SqsFault; 4] =
    [SqsFault::Unavailable, SqsFault::Throttled, SqsFault::Reset, SqsFault::Hang(SOME)];

const TROUBLES: [Trouble; 5] =
    [Trouble::Slow, Trouble::Reset, Trouble::HalfOpen, Trouble::Silent, Trouble::AnswersLost];

const OUTAGES: [Outage; 9] = [
    Outage::ImmediateShutdown,
    Outage::Restart,
    Outage::BackendsTerminated,
    Outage::BackendsFrozen,
    Outage::ConnectionLimit,
    Outage::TableLocked,
    Outage::StatementTimeout,
    Outage::ReadOnly,
    Outage::DiskFull,
];

pub(crate) const HOPS: [Hop; 3] = [Hop::Masker, Hop::Writer, Hop::Postgres];
pub(crate) const ROLES: [Role; 3] = [Role::Reader, Role::Masker, Role::Writer];
const BLOWS: [Blow; 4] = [Blow::Kill, Blow::KillAll, Blow::Hang, Blow::Terminate];

pub(crate) fn of_sqs() -> Vec<Fault> {
    let calls = [
        (SqsCall::Receive, RECEIVES.as_slice()),
        (SqsCall::Delete, DELETES.as_slice()),
        (SqsCall::Extend, EXTENSIONS.as_slice()),
        (SqsCall::Send, SENDS.as_slice()),
        (SqsCall::Every, EVERY.as_slice()),
    ];
    let faults = calls.into_iter().flat_map(|(call, faults)| faults.iter().map(move |fault| (call, *fault)));
    faults.map(|(call, fault)| Fault::Sqs(call, fault)).collect()
}

pub(crate) fn of_networks() -> Vec<Fault> {
    let pairs = HOPS.into_iter().flat_map(|hop| TROUBLES.into_iter().map(move |trouble| (hop, trouble)));
    pairs.map(|(hop, trouble)| Fault::Network(hop, trouble)).collect()
}

pub(crate) fn of_processes() -> Vec<Fault> {
    let pairs = ROLES.into_iter().flat_map(|role| BLOWS.into_iter().map(move |blow| (role, blow)));
    pairs.map(|(role, blow)| Fault::Process(role, blow)).collect()
}

pub(crate) fn of_postgres() -> Vec<Fault> {
    OUTAGES.into_iter().map(Fault::Postgres).collect()
}

impl SqsCall {
    /// What the action's name begins with.
    pub(crate) fn action(self) -> &'static str {
        match self {
            Self::Receive => "ReceiveMessage",
            Self::Delete => "DeleteMessage",
            Self::Extend => "ChangeMessageVisibility",
            Self::Send => "SendMessage",
            Self::Every => "",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqs(call, fault) => write!(formatter, "SQS, {}: {}", call.noun(), sqs(*fault)),
            Self::Network(hop, trouble) => write!(formatter, "network, {}: {}", hop.noun(), trouble.text()),
            Self::Process(role, blow) => write!(formatter, "{}: {}", role.noun(), blow.text()),
            Self::Postgres(outage) => write!(formatter, "Postgres: {}", outage.text()),
        }
    }
}

impl SqsCall {
    fn noun(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Delete => "delete",
            Self::Extend => "extension",
            Self::Send => "dead letter",
            Self::Every => "every call",
        }
    }
}

fn sqs(fault: SqsFault) -> &'static str {
    match fault {
        SqsFault::Delay(_) => "late",
        SqsFault::Unavailable => "503",
        SqsFault::InternalError => "500",
        SqsFault::Throttled => "throttled",
        SqsFault::Garbage => "answered by something else",
        SqsFault::Reset => "connection reset",
        SqsFault::AnswerLost => "answer lost after it took effect",
        SqsFault::Hang(_) => "no answer",
        SqsFault::EntriesRefused => "every second entry failed",
        SqsFault::EntriesMisreported => "every second entry said to have failed",
        SqsFault::HandlesRefused => "every second receipt handle refused",
        SqsFault::DeliverTwice => "each message twice in an answer",
        SqsFault::Redeliver => "delivered again at once, first handle stale",
    }
}

impl Hop {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Masker => "reader to masker",
            Self::Writer => "masker to writer",
            Self::Postgres => "writer to Postgres",
        }
    }
}

impl Trouble {
    fn text(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Reset => "connections reset",
            Self::HalfOpen => "connections half open",
            Self::Silent => "black hole",
            Self::AnswersLost => "answers lost",
        }
    }
}

impl Role {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Masker => "masker",
            Self::Writer => "writer",
        }
    }
}

impl Blow {
    fn text(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::KillAll => "SIGKILL to both replicas",
            Self::Hang => "SIGSTOP, then SIGCONT",
            Self::Terminate => "SIGTERM",
        }
    }
}

impl Outage {
    fn text(self) -> &'static str {
        match self {
            Self::ImmediateShutdown => "immediate shutdown",
            Self::Restart => "restart",
            Self::BackendsTerminated => "backends terminated",
            Self::BackendsFrozen => "backends frozen, and resumed when nobody waits for them",
            Self::ConnectionLimit => "connection limit reached",
            Self::TableLocked => "table locked",
            Self::StatementTimeout => "statements time out",
            Self::ReadOnly => "read-only",
            Self::DiskFull => "disk full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let all = [of_sqs(), of_networks(), of_processes(), of_postgres()].concat();
        let names: BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len());
    }
}
