//! Who owns an error: the record, the ledger, the catalogue, or the infrastructure.

use veilpost_proto::v1::Reason;

use super::{DbError, ServerError};

/// Who has to act on an error of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A key is already in the ledger.
    Ledger,
    /// Some record of the statement can never be stored.
    Record(Reason),
    /// The table is not what the catalogue said.
    Catalogue,
    /// The statement was too slow, or somebody cancelled it.
    Cancelled,
    /// It may be the record or it may be code, definitions and sessions around the table: a trigger that raises, a row
    /// that no partition takes, a lock that another session holds. Such a record is never rejected, but it must not cost its neighbours either.
    Undecided,
    /// Everything else.
    Infrastructure,
}

/// 22, 23 and 54 are the record's unless schema `veilpost` raised them.
pub(crate) fn owner(error: &DbError) -> Owner {
    let DbError::Server(error) = error else { return Owner::Infrastructure };
    let in_veilpost = error.schema.as_deref() == Some("veilpost");
    match (error.class(), error.sqlstate.as_str()) {
        (_, "23505") if in_veilpost => Owner::Ledger,
        ("22" | "23" | "54", _) if in_veilpost => Owner::Infrastructure,
        // A check without a name is a row without a partition: the table may get one tomorrow.
        (_, "23514") if error.constraint.is_none() => Owner::Undecided,
        ("22" | "23" | "54", _) => Owner::Record(reason(error)),
        ("42", _) => Owner::Catalogue,
        (_, "57014") => Owner::Cancelled,
        ("0A" | "2F" | "38" | "39" | "P0" | "XX", _) | (_, "55P03") => Owner::Undecided,
        _ => Owner::Infrastructure,
    }
}

/// Who has to act when Postgres, asked to take one value as input of a type, answers with this. Types look things up
/// and parse, so that most codes are about the value here, also those that an insert would owe to the catalogue. A missing
/// privilege is not: it may be one on the type, which every value would meet.
pub(crate) fn owner_of_input(error: &ServerError) -> Owner {
    match (error.class(), error.sqlstate.as_str()) {
        (_, "42501") => Owner::Catalogue,
        ("XX", _) => Owner::Undecided,
        ("08" | "40" | "53" | "55" | "57" | "58", _) => Owner::Infrastructure,
        _ => Owner::Record(reason(error)),
    }
}

/// The reason for rejecting the record that raised this.
pub(crate) fn reason(error: &ServerError) -> Reason {
    match (error.class(), error.sqlstate.as_str()) {
        (_, "22001") => Reason::TextTooLong,
        (_, "22003" | "22008" | "22009" | "22015") => Reason::OutOfRange,
        ("23", _) => Reason::Constraint,
        _ => Reason::InvalidValue,
    }
}

/// Whether waiting alone may help when this happens at the start.
pub(crate) fn is_transient(error: &DbError) -> bool {
    let DbError::Server(error) = error else { return true };
    matches!(error.class(), "08" | "28" | "3D" | "40" | "53" | "55" | "57") || error.sqlstate == "25006"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(sqlstate: &str) -> ServerError {
        ServerError { constraint: Some("c".into()), ..ServerError::with_sqlstate(sqlstate) }
    }

    fn owner_of(sqlstate: &str) -> Owner {
        owner(&server(sqlstate).into())
    }

    #[test]
    fn the_table_of_owners() {
        for (sqlstate, expected) in [
            ("22001", Owner::Record(Reason::TextTooLong)),
            ("22003", Owner::Record(Reason::OutOfRange)),
            ("22008", Owner::Record(Reason::OutOfRange)),
            ("22021", Owner::Record(Reason::InvalidValue)),
            ("22P05", Owner::Record(Reason::InvalidValue)),
            ("22P02", Owner::Record(Reason::InvalidValue)),
            ("54000", Owner::Record(Reason::InvalidValue)),
            ("23502", Owner::Record(Reason::Constraint)),
            ("23505", Owner::Record(Reason::Constraint)),
            ("42P01", Owner::Catalogue),
            ("57014", Owner::Cancelled),
            ("57P01", Owner::Infrastructure),
            ("40P01", Owner::Infrastructure),
            ("53100", Owner::Infrastructure),
            ("55P03", Owner::Undecided),
            ("P0001", Owner::Undecided),
        ] {
            assert_eq!(owner_of(sqlstate), expected, "{sqlstate}");
        }
    }

    #[test]
    fn what_a_type_says_of_a_value_is_about_the_value_unless_it_may_pass() {
        for sqlstate in ["22P02", "42601", "42602", "42P01", "42704", "42883", "3F000", "0A000", "P0001"] {
            let error = ServerError::with_sqlstate(sqlstate);
            assert_eq!(owner_of_input(&error), Owner::Record(Reason::InvalidValue), "{sqlstate}");
        }
        for sqlstate in ["08006", "40001", "42501", "53200", "55P03", "57014", "58030", "XX000"] {
            let owner = owner_of_input(&ServerError::with_sqlstate(sqlstate));
            assert!(!matches!(owner, Owner::Record(_)), "{sqlstate}");
        }
    }

    #[test]
    fn what_schema_veilpost_raises_is_never_the_records() {
        for (sqlstate, expected) in
            [("23505", Owner::Ledger), ("23514", Owner::Infrastructure), ("22003", Owner::Infrastructure)]
        {
            let error = ServerError { schema: Some("veilpost".into()), ..server(sqlstate) };
            assert_eq!(owner(&error.into()), expected, "{sqlstate}");
        }
    }

    #[test]
    fn a_row_without_a_partition_is_not_rejected() {
        let error = ServerError { schema: Some("public".into()), ..ServerError::with_sqlstate("23514") };
        assert_eq!(owner(&error.into()), Owner::Undecided);
    }

    proptest! {
        #[test]
        fn only_classes_22_23_and_54_can_reject(sqlstate in "[0-9A-Z]{5}") {
            let of_record = ["22", "23", "54"].iter().any(|class| sqlstate.starts_with(class));
            prop_assert_eq!(matches!(owner_of(&sqlstate), Owner::Record(_)), of_record);
        }

        #[test]
        fn a_lost_connection_is_nobodys_record(what in ".*") {
            prop_assert_eq!(owner(&DbError::Connection(what)), Owner::Infrastructure);
        }
    }
}
