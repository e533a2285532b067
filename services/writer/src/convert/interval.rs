//! Intervals: Postgres judges them, in a session whose `IntervalStyle` is fixed.

use veilpost_proto::masked::ValueRef;

use super::verdict::{Input, Verdict};

pub(super) fn convert(given: ValueRef<'_>) -> Verdict {
    match given {
        ValueRef::Text(_) => Verdict::Unsure(Input::AsGiven),
        ValueRef::Number(_) | ValueRef::Boolean(_) | ValueRef::Json(_) => {
            Verdict::invalid("a number or boolean where an interval is needed")
        }
    }
}
