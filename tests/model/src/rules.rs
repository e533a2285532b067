//! The rules by which readers and writers decide, each of which can be taken out.

/// Which rules hold. Without one of them the checker finds a way to lose, double or reject a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each rule holds or does not, whatever the others do")]
pub struct Rules {
    /// A statement that finds its key in the ledger waits for the standby before it reports a duplicate.
    pub duplicates_wait_for_the_standby: bool,
    /// A warning on a commit means that the outcome is unknown; the batch is sent again.
    pub a_warning_leaves_the_outcome_unknown: bool,
    /// A rejection inserts the key with a mark, so that a stored message is never rejected and a rejected one
    /// never stored.
    pub a_rejection_claims_the_key: bool,
    /// A slot of the ledger is emptied only while all clocks agree.
    pub truncation_needs_agreeing_clocks: bool,
    /// A record that a wrong clock puts outside of the ledger's window waits until the clocks agree.
    pub records_wait_for_agreeing_clocks: bool,
    /// Nothing is received while extensions of the visibility timeout are denied.
    pub receiving_stops_while_extensions_fail: bool,
}

impl Rules {
    /// All rules.
    pub fn all() -> Self {
        Self {
            duplicates_wait_for_the_standby: true,
            a_warning_leaves_the_outcome_unknown: true,
            a_rejection_claims_the_key: true,
            truncation_needs_agreeing_clocks: true,
            records_wait_for_agreeing_clocks: true,
            receiving_stops_while_extensions_fail: true,
        }
    }

    /// None of them: how Veilpost decided before these faults were known.
    pub fn none() -> Self {
        Self {
            duplicates_wait_for_the_standby: false,
            a_warning_leaves_the_outcome_unknown: false,
            a_rejection_claims_the_key: false,
            truncation_needs_agreeing_clocks: false,
            records_wait_for_agreeing_clocks: false,
            receiving_stops_while_extensions_fail: false,
        }
    }
}
