//! The steps: which action is possible in a state, and what it leads to.

use stateright::{Model, Property};
use veilpost_writer::{Fate, Purpose, WindowDecision, fate};

use crate::action::Action;
use crate::clocks::Clocks;
use crate::database::{Key, Node, Replication};
use crate::property;
use crate::queue::{MAX_RECEIVES, Place};
use crate::rules::Rules;
use crate::state::{Outcome, Phase, Reader, ReaderId, State, Writer, WriterId};

/// The model under a set of rules.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline {
    rules: Rules,
}

impl Pipeline {
    /// A pipeline that decides by `rules`.
    pub fn new(rules: Rules) -> Self {
        Self { rules }
    }

    fn receive(self, state: &mut State, reader: ReaderId) -> Option<()> {
        let extensions_fail =
            self.rules.receiving_stops_while_extensions_fail && state.message.extensions_denied;
        // A message is received again only once it is visible, so none in flight is overdue before.
        let stopped = !veilpost_reader_core::may_receive(extensions_fail, None, 0);
        if state.message.place != Place::Visible || *state.reader(reader) != Reader::Idle || stopped {
            return None;
        }
        if state.message.receives == MAX_RECEIVES {
            state.moved_while_held |= !state.message.is_dead_lettered && state.is_undecided_in_a_reader();
            state.message.place = Place::Moved;
            return Some(());
        }
        state.message.receives += 1;
        state.message.place = Place::Hidden;
        *state.reader(reader) = Reader::Holding { receive: state.message.receives, phase: Phase::Unsent };
        Some(())
    }

    fn send(state: &mut State, reader: ReaderId, writer: WriterId) -> Option<()> {
        let Reader::Holding { receive, phase: Phase::Unsent } = *state.reader(reader) else {
            return None;
        };
        if *state.writer(writer) != Writer::Idle {
            return None;
        }
        *state.reader(reader) = Reader::Holding { receive, phase: Phase::Sent(writer) };
        *state.writer(writer) = Writer::Running;
        Some(())
    }

    fn execute(self, state: &mut State, writer: WriterId) -> Option<()> {
        if *state.writer(writer) != Writer::Running {
            return None;
        }
        if state.clocks.decide() != WindowDecision::Take {
            self.stay_outside(state, writer);
            return Some(());
        }
        if state.column_is_narrow && !self.rules.a_rejection_claims_the_key {
            // The value is checked before any SQL.
            report(state, writer, Outcome::Rejected);
            return Some(());
        }
        if state.key_is_locked() {
            return None;
        }
        let before = state.primary;
        let purpose = if state.column_is_narrow { Purpose::Reject } else { Purpose::Store };
        let outcome = match fate(purpose, before.key.found()) {
            Fate::Stored => Outcome::Stored,
            Fate::Duplicate => Outcome::Duplicate,
            Fate::Rejected => Outcome::Rejected,
        };
        let commits = match (before.key, purpose) {
            (Key::Absent, Purpose::Store) => before.with_row(),
            (Key::Absent, Purpose::Reject) => Node { key: Key::Rejected, ..before },
            _ => before,
        };
        if commits == before && !self.rules.duplicates_wait_for_the_standby {
            report(state, writer, outcome);
        } else {
            *state.writer(writer) = Writer::Waiting { outcome, commits };
        }
        Some(())
    }

    /// The message is outside of the ledger's window. It is held and sent again; without the rule it is left
    /// to the queue.
    fn stay_outside(self, state: &mut State, writer: WriterId) {
        let waits = self.rules.records_wait_for_agreeing_clocks;
        if waits && state.clocks.decide() == WindowDecision::Hold {
            state.lose_statement(writer);
            return;
        }
        *state.writer(writer) = Writer::Idle;
        if state.waiting_for(writer).is_some() {
            state.left_by_a_clock = true;
        }
        state.forget_delivery(writer);
    }

    fn cancel_wait(self, state: &mut State, writer: WriterId) -> Option<()> {
        let Writer::Waiting { outcome, commits } = *state.writer(writer) else { return None };
        commit(state, commits);
        if self.rules.a_warning_leaves_the_outcome_unknown {
            state.lose_statement(writer);
        } else {
            report(state, writer, outcome);
        }
        Some(())
    }

    fn truncate(self, state: &mut State) -> Option<()> {
        let holds = self.rules.truncation_needs_agreeing_clocks;
        let empties = if holds { state.clocks.may_empty() } else { state.clocks.slot_looks_idle() };
        if !empties || state.key_is_locked() {
            return None;
        }
        state.emptied_in_use = true;
        state.primary.key = Key::Absent;
        if state.replication == Replication::Connected {
            state.standby.key = Key::Absent;
        }
        Some(())
    }

    fn step(self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Receive(reader) => self.receive(state, reader),
            Action::Send(reader, writer) => Self::send(state, reader, writer),
            Action::Execute(writer) => self.execute(state, writer),
            Action::Acknowledge(writer) => acknowledge(state, writer),
            Action::Delete(reader) => delete(state, reader),
            Action::LoseDelete(reader) => lose_delete(state, reader),
            Action::DeadLetter(reader) => dead_letter(state, reader),
            Action::Expire => expire(state),
            Action::TogglePermission => toggle_permission(state),
            Action::KillReader(reader) => kill(state, reader),
            Action::LoseConnection(writer) => lose_connection(state, writer),
            Action::CancelWait(writer) => self.cancel_wait(state, writer),
            Action::RestartPrimary => restart(state),
            Action::ToggleStandby => toggle_standby(state),
            Action::Promote => promote(state),
            Action::ToggleColumn => {
                state.column_is_narrow = !state.column_is_narrow;
                Some(())
            }
            Action::SetClocks(clocks) => set_clocks(state, clocks),
            Action::TruncateSlot => self.truncate(state),
        }
    }
}

impl Model for Pipeline {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend(Action::every());
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = *last;
        self.step(&mut next, action).map(|()| next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::all()
    }
}

/// The reader that waits for `writer` learns the outcome; nobody does if it died.
fn report(state: &mut State, writer: WriterId, outcome: Outcome) {
    *state.writer(writer) = Writer::Idle;
    if let Some(phase) = state.waiting_for(writer) {
        *phase = match outcome {
            Outcome::Stored | Outcome::Duplicate => Phase::Delete,
            Outcome::Rejected => Phase::DeadLetter,
        };
    }
}

/// Makes a commit visible on the primary, and on a standby that follows.
fn commit(state: &mut State, commits: Node) {
    state.primary = commits;
    if state.replication == Replication::Connected {
        state.standby = commits;
    }
}

fn acknowledge(state: &mut State, writer: WriterId) -> Option<()> {
    let Writer::Waiting { outcome, commits } = *state.writer(writer) else { return None };
    if state.replication == Replication::Cut {
        return None;
    }
    commit(state, commits);
    report(state, writer, outcome);
    Some(())
}

fn delete(state: &mut State, reader: ReaderId) -> Option<()> {
    let Reader::Holding { receive, phase: Phase::Delete } = *state.reader(reader) else { return None };
    if state.message.is_current(receive) {
        state.message.place = Place::Deleted;
    }
    *state.reader(reader) = Reader::Idle;
    Some(())
}

fn lose_delete(state: &mut State, reader: ReaderId) -> Option<()> {
    let Reader::Holding { phase: Phase::Delete, .. } = *state.reader(reader) else { return None };
    *state.reader(reader) = Reader::Idle;
    Some(())
}

fn dead_letter(state: &mut State, reader: ReaderId) -> Option<()> {
    let Reader::Holding { receive, phase: Phase::DeadLetter } = *state.reader(reader) else { return None };
    state.message.is_dead_lettered = true;
    *state.reader(reader) = Reader::Holding { receive, phase: Phase::Delete };
    Some(())
}

fn expire(state: &mut State) -> Option<()> {
    if state.message.place != Place::Hidden || state.is_kept_hidden() {
        return None;
    }
    state.message.place = Place::Visible;
    Some(())
}

fn set_clocks(state: &mut State, clocks: Clocks) -> Option<()> {
    if state.clocks == clocks {
        return None;
    }
    state.clocks = clocks;
    Some(())
}

/// Permission is not lost on the last receive: see what the model leaves out.
fn toggle_permission(state: &mut State) -> Option<()> {
    if !state.message.extensions_denied && state.message.receives == MAX_RECEIVES {
        return None;
    }
    state.message.extensions_denied = !state.message.extensions_denied;
    Some(())
}

fn kill(state: &mut State, reader: ReaderId) -> Option<()> {
    if *state.reader(reader) == Reader::Idle {
        return None;
    }
    *state.reader(reader) = Reader::Idle;
    Some(())
}

fn lose_connection(state: &mut State, writer: WriterId) -> Option<()> {
    if *state.writer(writer) != Writer::Running {
        return None;
    }
    state.lose_statement(writer);
    Some(())
}

/// What waited for the standby is committed; what was running is gone.
fn restart(state: &mut State) -> Option<()> {
    if state.writers == [Writer::Idle; 2] {
        return None;
    }
    for writer in [WriterId::One, WriterId::Two] {
        if let Writer::Waiting { commits, .. } = *state.writer(writer) {
            commit(state, commits);
        }
        state.lose_statement(writer);
    }
    Some(())
}

fn toggle_standby(state: &mut State) -> Option<()> {
    state.replication = match state.replication {
        Replication::Connected => Replication::Cut,
        Replication::Cut => {
            state.standby = state.primary;
            Replication::Connected
        }
        Replication::Promoted => return None,
    };
    Some(())
}

fn promote(state: &mut State) -> Option<()> {
    if state.replication == Replication::Promoted {
        return None;
    }
    for writer in [WriterId::One, WriterId::Two] {
        state.lose_statement(writer);
    }
    state.primary = state.standby;
    state.replication = Replication::Promoted;
    Some(())
}
