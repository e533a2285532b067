//! When a reader of a source that hides messages for a time may receive; pure.

/// Whether a reader may receive at `now`.
///
/// A message that is not kept hidden is delivered again, to this reader or to another one. Each delivery
/// counts, until the source gives the message up although it may be stored already. So a reader that cannot
/// keep hidden what it holds takes nothing more:
///
/// - not while `extensions_fail`: its last call to extend the time of a message in flight has failed, and
///   none has succeeded since;
/// - not from `first_overdue` on, when the first delivery in flight should have been extended at the latest;
///   `None` when nothing is in flight.
pub fn may_receive<T: Copy + PartialOrd>(extensions_fail: bool, first_overdue: Option<T>, now: T) -> bool {
    !extensions_fail && first_overdue.is_none_or(|overdue| now < overdue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_received_while_extensions_fail_or_one_is_overdue() {
        assert!(may_receive(false, None, 7));
        assert!(may_receive(false, Some(8), 7));
        assert!(!may_receive(false, Some(7), 7));
        assert!(!may_receive(true, None, 7));
        assert!(!may_receive(true, Some(8), 7));
    }
}
