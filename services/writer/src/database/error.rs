//! Errors of the database, without the values that Postgres quotes in its messages.

use std::fmt;

use sqlx::postgres::PgDatabaseError;
use zeroize::Zeroizing;

/// The part of a [`sqlx::Error`] that cannot contain a value of a row: SQLSTATE and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DbError {
    Server(Box<ServerError>),
    /// The connection could not be made, broke, or is in an unknown state.
    Connection(String),
    /// What answers is not what the URL asks for: TLS fails, or it is another service. Only somebody who
    /// changes the URL or the server can mend that.
    Refused(String),
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
    /// What Postgres says of a missing privilege.
    pub(crate) denial: Denial,
}

/// What is known of a missing privilege; empty for every other error.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Denial {
    /// Postgres's text. A trigger may have written it, so it is never shown: names of the catalogue are
    /// looked for in it.
    text: Zeroizing<String>,
    /// Which privilege is missing, and how it is granted, once that has been found out.
    found: Option<String>,
}

impl Denial {
    const SQLSTATE: &str = "42501";

    fn of(error: &PgDatabaseError) -> Self {
        let text = if error.code() == Self::SQLSTATE { error.message() } else { "" };
        Self { text: Zeroizing::new(text.to_owned()), found: None }
    }

    /// Whether Postgres's text has this name in it, apart from other words.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        let is_part =
            |character: Option<char>| character.is_some_and(|one| one.is_alphanumeric() || one == '_');
        self.text.match_indices(name).any(|(start, found)| {
            let before = self.text.get(..start).and_then(|text| text.chars().next_back());
            let after = self.text.get(start + found.len()..).and_then(|text| text.chars().next());
            !found.is_empty() && !is_part(before) && !is_part(after)
        })
    }
}

/// Never shows Postgres's text.
impl fmt::Debug for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Denial").field(&self.found).finish()
    }
}

impl ServerError {
    /// Not one of Postgres's own codes, but of its class for what differs from the catalogue: the table's
    /// definition has changed since the writer read it.
    pub(crate) const OUTDATED: &str = "42V01";

    pub(crate) fn with_sqlstate(sqlstate: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.into(), ..Self::default() }
    }

    /// Whether a privilege is missing, and nobody has found out yet which one.
    pub(crate) fn is_unexplained_denial(&self) -> bool {
        self.sqlstate == Denial::SQLSTATE && self.denial.found.is_none()
    }

    /// The same error, with the privilege that is missing.
    pub(crate) fn explained(&self, found: String) -> Self {
        let mut explained = self.clone();
        explained.denial.found = Some(found);
        explained
    }

    /// What is known of an error that is not surely a record's: the table too, which may be another one.
    pub(crate) fn undecided_detail(&self) -> String {
        let table = [("schema", &self.schema), ("table", &self.table), ("type", &self.data_type)];
        let mut detail = self.detail_with(
            &[&table[..], &[("column", &self.column), ("constraint", &self.constraint)]].concat(),
        );
        if let Some(found) = &self.denial.found {
            detail.extend([": ", found]);
        }
        detail
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
            Self::Connection(_) | Self::Refused(_) | Self::TimedOut => true,
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
            Self::Connection(_) | Self::Refused(_) => "connection",
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
            denial: Denial::of(error),
        }
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(formatter),
            Self::Connection(what) | Self::Refused(what) => {
                write!(formatter, "no connection to Postgres: {what}")
            }
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
        if let Some(meaning) = self.denial.found.as_deref().or_else(|| meaning(&self.sqlstate)) {
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
    fn a_denial_shows_what_was_found_and_never_what_postgres_or_a_trigger_wrote() {
        let text = Zeroizing::new("permission denied for table audit_s3cret".to_owned());
        let denied = ServerError {
            denial: Denial { text, found: None },
            ..ServerError::with_sqlstate(Denial::SQLSTATE)
        };
        assert!(denied.is_unexplained_denial());
        assert!(denied.denial.mentions("audit_s3cret") && denied.denial.mentions("table"));
        assert!(
            !denied.denial.mentions("audit")
                && !denied.denial.mentions("")
                && !denied.denial.mentions("s3cret")
        );
        let explained = denied.explained("role w lacks: INSERT ON TABLE a".to_owned());
        assert!(!explained.is_unexplained_denial());
        let error = DbError::from(explained);
        for shown in [error.to_string(), error.undecided_detail(), format!("{error:?}")] {
            assert!(shown.contains("INSERT ON TABLE a") && !shown.contains("s3cret"), "{shown}");
        }
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
