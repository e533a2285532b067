//! Who is to blame for an error of Postgres: the record, the ledger, the catalogue, or the infrastructure.

use veilpost_proto::v1::Reason;

use super::{DbError, ServerError};

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// A key is already in the ledger.
    Ledger,
    /// At least one record of the statement can never be stored.
    Record(Reason),
    /// The table differs from the definition that the writer has read.
    Catalogue,
    /// The statement was too slow, or somebody cancelled it.
    Cancelled,
    /// Either the record or something around the table: a trigger that raises, a row without a partition, a
    /// lock that another session holds. Such a record is never rejected, but it must not hold up the others
    /// either.
    Undecided,
    /// Everything else: no record can change it.
    Infrastructure,
}

/// Who is to blame for an error of an insert.
///
/// Classes 22, 23 and 54 are the record's fault, unless schema `veilpost` raised them. The classes are those
/// of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(crate) fn blame(error: &DbError) -> Blame {
    let DbError::Server(error) = error else { return Blame::Infrastructure };
    let in_veilpost = error.schema.as_deref() == Some("veilpost");
    match (error.class(), error.sqlstate.as_str()) {
        (_, "23505") if in_veilpost => Blame::Ledger,
        ("22" | "23" | "54", _) if in_veilpost => Blame::Infrastructure,
        // A check violation without a constraint is a row without a partition; the table may get that
        // partition later.
        (_, "23514") if error.constraint.is_none() => Blame::Undecided,
        ("22" | "23" | "54", _) => Blame::Record(reason(error)),
        ("42", _) => Blame::Catalogue,
        (_, "57014") => Blame::Cancelled,
        ("0A" | "2F" | "38" | "39" | "P0" | "XX", _) | (_, "55P03") => Blame::Undecided,
        _ => Blame::Infrastructure,
    }
}

/// Who is to blame when Postgres refuses one value as input of a type.
///
/// Input functions parse and look things up, so most codes are about the value, even those that an insert
/// would blame on the catalogue. A missing privilege is not: it may be a privilege on the type, which every
/// value needs.
pub(crate) fn blame_for_input(error: &ServerError) -> Blame {
    match (error.class(), error.sqlstate.as_str()) {
        (_, "42501") => Blame::Catalogue,
        ("XX", _) => Blame::Undecided,
        ("08" | "40" | "53" | "55" | "57" | "58", _) => Blame::Infrastructure,
        _ => Blame::Record(reason(error)),
    }
}

/// The reason for rejecting the record that raised this error.
fn reason(error: &ServerError) -> Reason {
    match (error.class(), error.sqlstate.as_str()) {
        (_, "22001") => Reason::TextTooLong,
        (_, "22003" | "22008" | "22009" | "22015") => Reason::OutOfRange,
        ("23", _) => Reason::Constraint,
        _ => Reason::InvalidValue,
    }
}

/// Whether waiting alone may help when this error happens at the start.
pub(crate) fn is_transient(error: &DbError) -> bool {
    let DbError::Server(error) = error else { return true };
    matches!(error.class(), "08" | "28" | "3D" | "40" | "53" | "55" | "57") || error.sqlstate == "25006"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INVALID: Blame = Blame::Record(Reason::InvalidValue);
    const OUT_OF_RANGE: Blame = Blame::Record(Reason::OutOfRange);
    const CONSTRAINT: Blame = Blame::Record(Reason::Constraint);

    /// One code of every class of Postgres's appendix A, and every code that is an exception within its
    /// class: who is to blame for an insert, and for a value that Postgres validates.
    const EVERY_CLASS: &[(&str, Blame, Blame)] = &[
        // Successful completion, warning and no data are never errors of a statement.
        ("00000", Blame::Infrastructure, INVALID),
        ("01000", Blame::Infrastructure, INVALID),
        ("02000", Blame::Infrastructure, INVALID),
        ("03000", Blame::Infrastructure, INVALID),
        ("08006", Blame::Infrastructure, Blame::Infrastructure),
        ("09000", Blame::Infrastructure, INVALID),
        ("0A000", Blame::Undecided, INVALID),
        ("0B000", Blame::Infrastructure, INVALID),
        ("0F000", Blame::Infrastructure, INVALID),
        ("0L000", Blame::Infrastructure, INVALID),
        ("0P000", Blame::Infrastructure, INVALID),
        ("0Z000", Blame::Infrastructure, INVALID),
        ("10608", Blame::Infrastructure, INVALID),
        ("20000", Blame::Infrastructure, INVALID),
        ("21000", Blame::Infrastructure, INVALID),
        ("22000", INVALID, INVALID),
        ("22001", Blame::Record(Reason::TextTooLong), Blame::Record(Reason::TextTooLong)),
        ("22003", OUT_OF_RANGE, OUT_OF_RANGE),
        ("22008", OUT_OF_RANGE, OUT_OF_RANGE),
        ("22009", OUT_OF_RANGE, OUT_OF_RANGE),
        ("22015", OUT_OF_RANGE, OUT_OF_RANGE),
        ("22021", INVALID, INVALID),
        ("22P02", INVALID, INVALID),
        ("22P05", INVALID, INVALID),
        ("23502", CONSTRAINT, CONSTRAINT),
        ("23503", CONSTRAINT, CONSTRAINT),
        ("23505", CONSTRAINT, CONSTRAINT),
        ("23514", CONSTRAINT, CONSTRAINT),
        ("23P01", CONSTRAINT, CONSTRAINT),
        ("24000", Blame::Infrastructure, INVALID),
        ("25006", Blame::Infrastructure, INVALID),
        ("25P02", Blame::Infrastructure, INVALID),
        ("26000", Blame::Infrastructure, INVALID),
        ("27000", Blame::Infrastructure, INVALID),
        ("28000", Blame::Infrastructure, INVALID),
        ("2B000", Blame::Infrastructure, INVALID),
        ("2D000", Blame::Infrastructure, INVALID),
        ("2F000", Blame::Undecided, INVALID),
        ("34000", Blame::Infrastructure, INVALID),
        ("38000", Blame::Undecided, INVALID),
        ("39000", Blame::Undecided, INVALID),
        ("3B000", Blame::Infrastructure, INVALID),
        ("3D000", Blame::Infrastructure, INVALID),
        ("3F000", Blame::Infrastructure, INVALID),
        ("40001", Blame::Infrastructure, Blame::Infrastructure),
        ("40P01", Blame::Infrastructure, Blame::Infrastructure),
        ("42501", Blame::Catalogue, Blame::Catalogue),
        ("42601", Blame::Catalogue, INVALID),
        ("42602", Blame::Catalogue, INVALID),
        ("42704", Blame::Catalogue, INVALID),
        ("42883", Blame::Catalogue, INVALID),
        ("42P01", Blame::Catalogue, INVALID),
        ("44000", Blame::Infrastructure, INVALID),
        ("53100", Blame::Infrastructure, Blame::Infrastructure),
        ("53200", Blame::Infrastructure, Blame::Infrastructure),
        ("54000", INVALID, INVALID),
        ("55000", Blame::Infrastructure, Blame::Infrastructure),
        ("55P03", Blame::Undecided, Blame::Infrastructure),
        ("57014", Blame::Cancelled, Blame::Infrastructure),
        ("57P01", Blame::Infrastructure, Blame::Infrastructure),
        ("58030", Blame::Infrastructure, Blame::Infrastructure),
        ("72000", Blame::Infrastructure, INVALID),
        ("F0000", Blame::Infrastructure, INVALID),
        ("HV000", Blame::Infrastructure, INVALID),
        ("P0001", Blame::Undecided, INVALID),
        ("XX000", Blame::Undecided, Blame::Undecided),
        // A class that a trigger made up.
        ("U0001", Blame::Infrastructure, INVALID),
    ];

    fn server(sqlstate: &str) -> ServerError {
        ServerError { constraint: Some("c".into()), ..ServerError::with_sqlstate(sqlstate) }
    }

    fn blame_of(sqlstate: &str) -> Blame {
        blame(&server(sqlstate).into())
    }

    #[test]
    fn every_class_of_errors_has_somebody_to_blame() {
        for (sqlstate, of_insert, of_input) in EVERY_CLASS {
            assert_eq!(blame_of(sqlstate), *of_insert, "{sqlstate} of an insert");
            assert_eq!(blame_for_input(&server(sqlstate)), *of_input, "{sqlstate} of a value");
        }
    }

    #[test]
    fn an_error_that_may_pass_never_blames_the_value() {
        for sqlstate in ["08006", "40001", "42501", "53200", "55P03", "57014", "58030", "XX000"] {
            let blame = blame_for_input(&ServerError::with_sqlstate(sqlstate));
            assert!(!matches!(blame, Blame::Record(_)), "{sqlstate}");
        }
    }

    #[test]
    fn an_error_of_schema_veilpost_never_blames_a_record() {
        for (sqlstate, of_insert, _) in EVERY_CLASS {
            let error = ServerError { schema: Some("veilpost".into()), ..server(sqlstate) };
            let expected = match *of_insert {
                _ if *sqlstate == "23505" => Blame::Ledger,
                Blame::Record(_) => Blame::Infrastructure,
                other => other,
            };
            assert_eq!(blame(&error.into()), expected, "{sqlstate}");
        }
    }

    #[test]
    fn a_row_without_a_partition_is_not_rejected() {
        let error = ServerError { schema: Some("public".into()), ..ServerError::with_sqlstate("23514") };
        assert_eq!(blame(&error.into()), Blame::Undecided);
    }

    proptest! {
        #[test]
        fn only_classes_22_23_and_54_can_reject(sqlstate in "[0-9A-Z]{5}") {
            let of_record = ["22", "23", "54"].iter().any(|class| sqlstate.starts_with(class));
            prop_assert_eq!(matches!(blame_of(&sqlstate), Blame::Record(_)), of_record);
        }

        #[test]
        fn a_lost_connection_blames_no_record(what in ".*") {
            prop_assert_eq!(blame(&DbError::Connection(what)), Blame::Infrastructure);
        }
    }
}
