//! Everything that is done to Veilpost, by what it is done to.

use std::fmt;
use std::time::Duration;

use veilpost_local::certificates::Role;
use veilpost_testkit::SqsFault;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Sqs(SqsCall, SqsFault),
    Network(Hop, NetworkFault),
    Process(Role, ProcessFault),
    Postgres(PostgresFault),
    /// Of a synchronous failover; no schedule has it.
    Failover(FailoverFault),
    /// Some records meet this SQLSTATE each time they come; no schedule has it.
    Constant(&'static str),
}

/// What happens to commits that wait for a standby, and what ends the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailoverFault {
    /// Somebody cancels the waits: Postgres commits on the primary alone and only warns.
    WaitsCancelled,
    ConnectionsTerminated,
    /// The primary crashes and starts again, still without the standby.
    PrimaryCrashed,
    /// The primary dies while commits wait, and the standby takes over.
    StandbyPromoted,
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
pub(crate) enum NetworkFault {
    Slow,
    Reset,
    HalfOpen,
    Silent,
    AnswersLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessFault {
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
pub(crate) enum PostgresFault {
    ImmediateShutdown,
    Restart,
    BackendsTerminated,
    BackendsFrozen,
    ConnectionLimit,
    TableLocked,
    StatementTimeout,
    ReadOnly,
    DiskFull,
    /// A trigger refuses every row with an SQLSTATE that Postgres does not know.
    EverythingRefused,
    /// The sequence of a column's default has no more numbers.
    SequenceUsedUp,
    /// Columns change their types and back.
    TypesChanged,
    /// The database's clock shows a day of last week.
    ClockBehind,
    /// The database's clock shows a day of next month.
    ClockAhead,
}

/// A placeholder: the schedule gives the length.
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

const EXTENSIONS: [SqsFault; 5] = [
    SqsFault::Throttled,
    SqsFault::AnswerLost,
    SqsFault::EntriesRefused,
    SqsFault::HandlesRefused,
    SqsFault::Error(403, "AccessDenied"),
];

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

const NETWORK_FAULTS: [NetworkFault; 5] = [
    NetworkFault::Slow,
    NetworkFault::Reset,
    NetworkFault::HalfOpen,
    NetworkFault::Silent,
    NetworkFault::AnswersLost,
];

const POSTGRES_FAULTS: [PostgresFault; 14] = [
    PostgresFault::ImmediateShutdown,
    PostgresFault::Restart,
    PostgresFault::BackendsTerminated,
    PostgresFault::BackendsFrozen,
    PostgresFault::ConnectionLimit,
    PostgresFault::TableLocked,
    PostgresFault::StatementTimeout,
    PostgresFault::ReadOnly,
    PostgresFault::DiskFull,
    PostgresFault::EverythingRefused,
    PostgresFault::SequenceUsedUp,
    PostgresFault::TypesChanged,
    PostgresFault::ClockBehind,
    PostgresFault::ClockAhead,
];

pub(crate) const HOPS: [Hop; 3] = [Hop::Masker, Hop::Writer, Hop::Postgres];
const PROCESS_FAULTS: [ProcessFault; 4] =
    [ProcessFault::Kill, ProcessFault::KillAll, ProcessFault::Hang, ProcessFault::Terminate];

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
    let pairs = HOPS.into_iter().flat_map(|hop| NETWORK_FAULTS.into_iter().map(move |fault| (hop, fault)));
    pairs.map(|(hop, fault)| Fault::Network(hop, fault)).collect()
}

pub(crate) fn of_processes() -> Vec<Fault> {
    let pairs =
        Role::ALL.into_iter().flat_map(|role| PROCESS_FAULTS.into_iter().map(move |fault| (role, fault)));
    pairs.map(|(role, fault)| Fault::Process(role, fault)).collect()
}

pub(crate) fn of_postgres() -> Vec<Fault> {
    POSTGRES_FAULTS.into_iter().map(Fault::Postgres).collect()
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
            Self::Network(hop, fault) => write!(formatter, "network, {}: {}", hop.noun(), fault.text()),
            Self::Process(role, fault) => write!(formatter, "{}: {}", role.name(), fault.text()),
            Self::Postgres(fault) => write!(formatter, "Postgres: {}", fault.text()),
            Self::Failover(fault) => write!(formatter, "failover, standby cut off: {}", fault.text()),
            Self::Constant(sqlstate) => write!(formatter, "a record always fails: SQLSTATE {sqlstate}"),
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
        SqsFault::Error(_, code) | SqsFault::AllEntriesRefused(code) => code,
        SqsFault::Answer(_) => "answer made up",
        SqsFault::FieldIgnored(_) => "field ignored",
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

impl NetworkFault {
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

impl ProcessFault {
    fn text(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::KillAll => "SIGKILL to both replicas",
            Self::Hang => "SIGSTOP, then SIGCONT",
            Self::Terminate => "SIGTERM",
        }
    }
}

impl FailoverFault {
    fn text(self) -> &'static str {
        match self {
            Self::WaitsCancelled => "commits' waits cancelled",
            Self::ConnectionsTerminated => "waiting connections terminated",
            Self::PrimaryCrashed => "primary crashes and starts again",
            Self::StandbyPromoted => "primary dies, standby promoted",
        }
    }
}

impl PostgresFault {
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
            Self::EverythingRefused => "a trigger refuses every row",
            Self::SequenceUsedUp => "a default's sequence used up",
            Self::TypesChanged => "column types changed and changed back",
            Self::ClockBehind => "clock days behind",
            Self::ClockAhead => "clock weeks ahead",
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
