//! Errors of the database, without the values that Postgres quotes in its messages.

use std::fmt;

use sqlx::postgres::PgDatabaseError;

/// The part of a [`sqlx::Error`] that cannot contain a value of a row: SQLSTATE and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DbError {
    Server(Box<ServerError>),
    /// The connection could not be made, broke, or is in an unknown state.
    Connection(String),
    /// No answer within the statement timeout and a margin.
    TimedOut,
    /// No error of the database: by a clock that may be wrong, the record is outside of the ledger's window.
    OutsideWindow,
}

/// An error that Postgres reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) sqlstate: String,
    pub(crate) schema: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) column: Option<String>,
    pub(crate) constraint: Option<String>,
    pub(crate) data_type: Option<String>,
    /// Whether a function or a trigger was running, whose statement or value may be to blame.
    pub(crate) is_nested: bool,
}

impl ServerError {
    /// Not one of Postgres's own codes, but of its class for what differs from the catalogue: the table's
    /// definition has changed since the writer read it.
    pub(crate) const OUTDATED: &str = "42V01";

    pub(crate) fn with_sqlstate(sqlstate: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.into(), ..Self::default() }
    }

    /// The detail of a rejection: the SQLSTATE and the name of what was violated.
    pub(crate) fn detail(&self) -> String {
        self.detail_with(&[("column", &self.column), ("constraint", &self.constraint)])
    }

    /// What is known of an error that is not surely a record's: the table too, which may be another one.
    pub(crate) fn undecided_detail(&self) -> String {
        let table = [("schema", &self.schema), ("table", &self.table), ("type", &self.data_type)];
        self.detail_with(
            &[&table[..], &[("column", &self.column), ("constraint", &self.constraint)]].concat(),
        )
    }

    fn detail_with(&self, names: &[(&str, &Option<String>)]) -> String {
        let mut detail = format!("SQLSTATE {}", self.sqlstate);
        for (kind, name) in names {
            if let Some(name) = name {
                detail.extend([", ", *kind, " ", name.as_str()]);
            }
        }
        detail
    }

    pub(crate) fn class(&self) -> &str {
        self.sqlstate.get(..2).unwrap_or_default()
    }
}

impl DbError {
    /// What is known of why a record is undecided: SQLSTATE and names, never a value.
    pub(crate) fn undecided_detail(&self) -> String {
        match self {
            Self::Server(error) => error.undecided_detail(),
            other => other.to_string(),
        }
    }

    /// Whether the connection must not be used after this error.
    pub(crate) fn ends_connection(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut => true,
            Self::OutsideWindow => false,
            // 25006: a primary that became a standby. 26: the server has forgotten a prepared statement.
            Self::Server(error) => {
                matches!(error.class(), "08" | "26")
                    || error.sqlstate == "25006"
                    || error.sqlstate.starts_with("57P")
            }
        }
    }

    /// The error's class as a label of metrics: one of a few names.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::TimedOut => "timeout",
            Self::OutsideWindow => "clocks",
            Self::Server(error) => match error.class() {
                "08" => "connection",
                "25" => "transaction_state",
                "40" => "rollback",
                "42" => "catalogue",
                "53" => "resources",
                "55" => "lock",
                "57" => "intervention",
                _ => "other",
            },
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => Self::Server(Box::new(ServerError::from(error))),
                None => Self::Connection("an unknown kind of database error".to_owned()),
            },
            sqlx::Error::Io(error) => Self::Connection(error.to_string()),
            // The text is about the handshake or the settings; nothing of a row has been sent yet.
            sqlx::Error::Tls(error) => Self::Connection(format!("TLS failed: {error}")),
            sqlx::Error::Configuration(_) => {
                Self::Connection("the connection's settings are wrong".to_owned())
            }
            sqlx::Error::Protocol(_) => Self::Connection("the protocol was broken".to_owned()),
            _ => Self::Connection("an unexpected answer".to_owned()),
        }
    }
}

impl From<ServerError> for DbError {
    fn from(error: ServerError) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<&PgDatabaseError> for ServerError {
    fn from(error: &PgDatabaseError) -> Self {
        Self {
            sqlstate: error.code().to_owned(),
            schema: error.schema().map(str::to_owned),
            table: error.table().map(str::to_owned),
            column: error.column().map(str::to_owned),
            constraint: error.constraint().map(str::to_owned),
            data_type: error.data_type().map(str::to_owned),
            // The text of the context may quote values, so it is not kept. The session's settings keep
            // parameters out of it, which would be a context without a function.
            is_nested: error.r#where().is_some(),
        }
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(formatter),
            Self::Connection(what) => write!(formatter, "no connection to Postgres: {what}"),
            Self::TimedOut => formatter.write_str("Postgres did not answer in time"),
            Self::OutsideWindow => formatter.write_str(
                "sent outside the ledger's window, by a clock that may be wrong: compare the clocks of database, \
                 host and queue",
            ),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SQLSTATE {}", self.sqlstate)?;
        if let Some(meaning) = meaning(&self.sqlstate) {
            write!(formatter, ": {meaning}")?;
        }
        let names = [
            ("schema", &self.schema),
            ("table", &self.table),
            ("column", &self.column),
            ("constraint", &self.constraint),
            ("type", &self.data_type),
        ];
        for (kind, name) in names {
            if let Some(name) = name {
                write!(formatter, ", {kind} {name}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for DbError {}

/// The meaning of errors that an operator can act on.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn meaning(sqlstate: &str) -> Option<&'static str> {
    Some(match sqlstate {
        "08P01" => {
            "the protocol was broken, as by a pooler that refuses a startup parameter: connect to Postgres itself, \
             or to a pool in session mode"
        }
        "25006" => "the database is read-only",
        "28000" => "the role is refused: it may not log in, or pg_hba.conf has no line for it",
        "28P01" => "the password is refused, or the role's VALID UNTIL is past",
        "3D000" => "no such database",
        "40001" => "serialization failure",
        "40P01" => "deadlock",
        "42501" => "a privilege is missing; at its start and every minute the writer logs which one",
        ServerError::OUTDATED => "the table's definition has changed",
        "42704" => "no such object or setting; Postgres 14 or newer is needed",
        "42703" => "no such column",
        "42883" => "no such function",
        "42P01" => "no such table",
        "42P07" => "a table of that name exists already",
        "53100" => "the disk is full",
        "53300" => "too many connections",
        "55P03" => "a lock is held by someone else",
        "57014" => "cancelled, or slower than the statement timeout",
        "57P01" | "57P02" | "57P03" => "Postgres is starting up or shutting down",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_the_sqlstate_are_shown() {
        let error = ServerError {
            column: Some("locale".into()),
            table: Some("user_logins".into()),
            ..ServerError::with_sqlstate("23502")
        };
        assert_eq!(DbError::from(error).to_string(), "SQLSTATE 23502, table user_logins, column locale");
    }

    #[test]
    fn connections_are_discarded_when_they_cannot_be_trusted() {
        for (sqlstate, ends) in
            [("08006", true), ("25006", true), ("57P01", true), ("57014", false), ("22P02", false)]
        {
            assert_eq!(
                DbError::from(ServerError::with_sqlstate(sqlstate)).ends_connection(),
                ends,
                "{sqlstate}"
            );
        }
        assert!(DbError::TimedOut.ends_connection());
    }
}
