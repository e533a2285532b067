//! Checks every state that the model can reach: under all rules every property holds, and without any one of
//! the rules the property that it protects is broken.

use stateright::{Checker, HasDiscoveries, Model};
use veilpost_model::{Pipeline, Rules, property};

/// Whether the checker finds, under these rules, a way to break each of the properties. It stops once it has.
fn assert_breaks<const N: usize>(rules: Rules, properties: [&'static str; N]) {
    let wanted = HasDiscoveries::AllOf(properties.into_iter().collect());
    let checker = Pipeline::new(rules).checker().finish_when(wanted).spawn_bfs().join();
    let found = checker.discoveries();
    for property in properties {
        assert!(found.contains_key(property), "{property} is not among {:?}", found.keys());
    }
}

#[test]
fn under_all_rules_every_property_holds_in_every_state() {
    let checker = Pipeline::new(Rules::all()).checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "{} states are too few", checker.unique_state_count());
}

#[test]
fn under_no_rules_every_safety_property_is_broken() {
    assert_breaks(Rules::none(), property::SAFETY);
}

#[test]
fn a_duplicate_that_does_not_wait_for_the_standby_loses_a_row_in_a_failover() {
    let rules = Rules { duplicates_wait_for_the_standby: false, ..Rules::all() };
    assert_breaks(rules, [property::DURABLE_WHEN_DELETED]);
}

#[test]
fn a_cancelled_wait_that_counts_as_stored_loses_a_row_in_a_failover() {
    let rules = Rules { a_warning_leaves_the_outcome_unknown: false, ..Rules::all() };
    assert_breaks(rules, [property::DURABLE_WHEN_DELETED]);
}

#[test]
fn a_rejection_that_does_not_claim_the_key_leaves_a_row_and_a_dead_letter() {
    let rules = Rules { a_rejection_claims_the_key: false, ..Rules::all() };
    assert_breaks(rules, [property::NEVER_BOTH]);
}

#[test]
fn a_slot_emptied_by_one_wrong_clock_stores_a_message_twice() {
    let rules = Rules { truncation_needs_agreeing_clocks: false, ..Rules::all() };
    assert_breaks(rules, [property::ONE_ROW, property::SLOT_IS_PAST]);
}

#[test]
fn a_record_that_does_not_wait_for_the_clocks_is_left_to_the_queue() {
    let rules = Rules { records_wait_for_agreeing_clocks: false, ..Rules::all() };
    assert_breaks(rules, [property::NOT_LEFT_BY_A_CLOCK]);
}

#[test]
fn receiving_while_extensions_are_denied_lets_the_queue_move_what_a_reader_holds() {
    let rules = Rules { receiving_stops_while_extensions_fail: false, ..Rules::all() };
    assert_breaks(rules, [property::NOT_MOVED_WHILE_HELD]);
}
