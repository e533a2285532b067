//! Who is to blame for an error of Postgres: the record, the ledger, the catalogue, the infrastructure, or
//! nobody for sure.

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
    /// The statement was too slow, waited too long for a lock, or somebody cancelled it.
    Cancelled,
    /// Either a record or something around the table: a trigger that raises, a sequence that is used up, a
    /// constraint of another table, a row without a partition. Such a record is never rejected while it can
    /// come again, but it must not hold up the others either.
    Undecided,
    /// No record can change it, unless it lasts while the database works.
    Infrastructure,
}

/// Where an error says that it arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Schema `veilpost`.
    Ledger,
    /// The target table or one of its partitions, or a domain of one of the columns that the stream fills.
    Target,
    /// Anywhere else, or nowhere.
    Elsewhere,
}

/// Who is to blame for an error whose origin is not known to be the target.
pub(crate) fn blame(error: &DbError) -> Blame {
    blame_at(error, Origin::Elsewhere)
}

/// Who is to blame for an error of an insert.
///
/// Values are judged before any SQL, so what is left for a statement to find in a record is a violated
/// constraint of its own table: class 23, from [`Origin::Target`]. The other classes are a record's fault or
/// not, as triggers, defaults and generated columns like. Only what is listed is the infrastructure's. The
/// classes are those of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(crate) fn blame_at(error: &DbError, origin: Origin) -> Blame {
    let DbError::Server(error) = error else { return Blame::Infrastructure };
    match (error.class(), error.sqlstate.as_str()) {
        (_, "23505") if origin == Origin::Ledger => Blame::Ledger,
        ("23", _) if origin == Origin::Ledger => Blame::Infrastructure,
        // A check violation without a constraint is a row without a partition; the table may get that
        // partition later. A missing NOT NULL value has no constraint, but a column or a domain.
        ("23", sqlstate) if origin == Origin::Target => {
            let is_named = error.constraint.is_some() || sqlstate == "23502";
            if is_named { Blame::Record(Reason::Constraint) } else { Blame::Undecided }
        }
        ("3F" | "42", _) => Blame::Catalogue,
        (_, "57014" | "55P03") => Blame::Cancelled,
        (class, _) if is_infrastructure(class) => Blame::Infrastructure,
        _ => Blame::Undecided,
    }
}

/// The classes that say something of the server, the session or the moment, and nothing of a row.
fn is_infrastructure(class: &str) -> bool {
    matches!(
        class,
        "08" // the connection
        | "25" // the state of the transaction, such as a primary that became read-only
        | "26" // prepared statements that the server has forgotten
        | "28" // the role may not log in any more
        | "3D" // the database is gone
        | "40" // deadlocks and other conflicts with transactions beside this one
        | "53" // disk, memory, connections
        | "55" // an object is in use; lock timeouts are decided before
        | "57" // shutdown, recovery, a dropped database
        | "58" // files of the server
        | "72" // a snapshot that is too old
        | "F0" // the server's configuration
    )
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
    /// class: who is to blame for an error of an insert that arose anywhere, and for a value that Postgres
    /// validates.
    const EVERY_CLASS: &[(&str, Blame, Blame)] = &[
        // Successful completion, warning and no data are never errors of a statement, but a trigger's.
        ("00000", Blame::Undecided, INVALID),
        ("01000", Blame::Undecided, INVALID),
        ("02000", Blame::Undecided, INVALID),
        ("03000", Blame::Undecided, INVALID),
        ("08006", Blame::Infrastructure, Blame::Infrastructure),
        ("09000", Blame::Undecided, INVALID),
        ("0A000", Blame::Undecided, INVALID),
        ("0B000", Blame::Undecided, INVALID),
        ("0F000", Blame::Undecided, INVALID),
        ("0L000", Blame::Undecided, INVALID),
        ("0P000", Blame::Undecided, INVALID),
        ("0Z000", Blame::Undecided, INVALID),
        ("10608", Blame::Undecided, INVALID),
        ("20000", Blame::Undecided, INVALID),
        ("21000", Blame::Undecided, INVALID),
        // A trigger, a default or a generated column: the values have been judged before.
        ("22000", Blame::Undecided, INVALID),
        ("22001", Blame::Undecided, Blame::Record(Reason::TextTooLong)),
        ("22003", Blame::Undecided, OUT_OF_RANGE),
        ("22008", Blame::Undecided, OUT_OF_RANGE),
        ("22009", Blame::Undecided, OUT_OF_RANGE),
        ("2200H", Blame::Undecided, INVALID),
        ("22012", Blame::Undecided, INVALID),
        ("22015", Blame::Undecided, OUT_OF_RANGE),
        ("22021", Blame::Undecided, INVALID),
        ("22P02", Blame::Undecided, INVALID),
        ("22P05", Blame::Undecided, INVALID),
        // Of another table.
        ("23000", Blame::Undecided, CONSTRAINT),
        ("23001", Blame::Undecided, CONSTRAINT),
        ("23502", Blame::Undecided, CONSTRAINT),
        ("23503", Blame::Undecided, CONSTRAINT),
        ("23505", Blame::Undecided, CONSTRAINT),
        ("23514", Blame::Undecided, CONSTRAINT),
        ("23P01", Blame::Undecided, CONSTRAINT),
        ("24000", Blame::Undecided, INVALID),
        ("25006", Blame::Infrastructure, INVALID),
        ("25P02", Blame::Infrastructure, INVALID),
        ("26000", Blame::Infrastructure, INVALID),
        ("27000", Blame::Undecided, INVALID),
        ("28000", Blame::Infrastructure, INVALID),
        ("2B000", Blame::Undecided, INVALID),
        ("2D000", Blame::Undecided, INVALID),
        ("2F000", Blame::Undecided, INVALID),
        ("34000", Blame::Undecided, INVALID),
        ("38000", Blame::Undecided, INVALID),
        ("39000", Blame::Undecided, INVALID),
        ("3B000", Blame::Undecided, INVALID),
        ("3D000", Blame::Infrastructure, INVALID),
        ("3F000", Blame::Catalogue, INVALID),
        ("40001", Blame::Infrastructure, Blame::Infrastructure),
        ("40P01", Blame::Infrastructure, Blame::Infrastructure),
        ("42501", Blame::Catalogue, Blame::Catalogue),
        ("42601", Blame::Catalogue, INVALID),
        ("42602", Blame::Catalogue, INVALID),
        ("42704", Blame::Catalogue, INVALID),
        ("42883", Blame::Catalogue, INVALID),
        ("42P01", Blame::Catalogue, INVALID),
        ("44000", Blame::Undecided, INVALID),
        ("53100", Blame::Infrastructure, Blame::Infrastructure),
        ("53200", Blame::Infrastructure, Blame::Infrastructure),
        ("54000", Blame::Undecided, INVALID),
        ("55000", Blame::Infrastructure, Blame::Infrastructure),
        ("55P03", Blame::Cancelled, Blame::Infrastructure),
        ("57014", Blame::Cancelled, Blame::Infrastructure),
        ("57P01", Blame::Infrastructure, Blame::Infrastructure),
        ("58030", Blame::Infrastructure, Blame::Infrastructure),
        ("72000", Blame::Infrastructure, INVALID),
        ("F0000", Blame::Infrastructure, INVALID),
        ("HV000", Blame::Undecided, INVALID),
        ("P0001", Blame::Undecided, INVALID),
        ("XX000", Blame::Undecided, Blame::Undecided),
        // A class that a trigger made up.
        ("U0001", Blame::Undecided, INVALID),
    ];

    fn server(sqlstate: &str) -> ServerError {
        ServerError { constraint: Some("c".into()), ..ServerError::with_sqlstate(sqlstate) }
    }

    #[test]
    fn every_class_of_errors_has_somebody_to_blame() {
        for (sqlstate, of_insert, of_input) in EVERY_CLASS {
            assert_eq!(blame(&server(sqlstate).into()), *of_insert, "{sqlstate} of an insert");
            assert_eq!(blame_for_input(&server(sqlstate)), *of_input, "{sqlstate} of a value");
        }
    }

    #[test]
    fn only_a_constraint_of_the_target_itself_blames_a_record() {
        for (sqlstate, elsewhere, _) in EVERY_CLASS {
            let at = |origin| blame_at(&server(sqlstate).into(), origin);
            let of_constraint = sqlstate.starts_with("23");
            assert_eq!(at(Origin::Target), if of_constraint { CONSTRAINT } else { *elsewhere }, "{sqlstate}");
            let of_ledger = match *sqlstate {
                "23505" => Blame::Ledger,
                _ if of_constraint => Blame::Infrastructure,
                _ => *elsewhere,
            };
            assert_eq!(at(Origin::Ledger), of_ledger, "{sqlstate}");
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
    fn a_row_without_a_partition_is_not_rejected_and_one_without_a_value_is() {
        let unnamed = |sqlstate| DbError::from(ServerError::with_sqlstate(sqlstate));
        assert_eq!(blame_at(&unnamed("23514"), Origin::Target), Blame::Undecided);
        assert_eq!(blame_at(&unnamed("23502"), Origin::Target), CONSTRAINT);
    }

    proptest! {
        #[test]
        fn nothing_but_a_constraint_can_reject(sqlstate in "[0-9A-Z]{5}", at in 0usize..3) {
            let origin = [Origin::Ledger, Origin::Target, Origin::Elsewhere][at];
            let rejects = matches!(blame_at(&server(&sqlstate).into(), origin), Blame::Record(_));
            prop_assert_eq!(rejects, sqlstate.starts_with("23") && origin == Origin::Target);
        }

        #[test]
        fn a_lost_connection_blames_no_record(what in ".*") {
            prop_assert_eq!(blame_at(&DbError::Connection(what), Origin::Target), Blame::Infrastructure);
        }
    }
}
