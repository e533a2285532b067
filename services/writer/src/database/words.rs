//! What Postgres refuses for what it is, in words: names and rules, never values.

use super::ServerError;

impl ServerError {
    /// Why a value is no input of a type; `type_name` as SQL writes it.
    pub(crate) fn input_detail(&self, type_name: &str) -> String {
        format!("{} (SQLSTATE {})", self.input_rule(type_name), self.sqlstate)
    }

    fn input_rule(&self, type_name: &str) -> String {
        match (self.class(), self.sqlstate.as_str()) {
            (_, "22001") => format!("too long for type {type_name}"),
            (_, "22003" | "22008" | "22009" | "22015") => format!("out of range for type {type_name}"),
            (_, "22026") => format!("not of the length of type {type_name}"),
            (_, "22021" | "22P05") => {
                format!("no value of type {type_name}: it has a character that the database cannot store")
            }
            ("0A", _) => format!("a kind of value that type {type_name} does not support"),
            ("23", _) => format!("refused by a constraint of type {type_name}"),
            (_, "42601" | "42602" | "42622" | "42939") => {
                format!("no value of type {type_name}: its syntax is wrong")
            }
            ("3D" | "3F" | "42", _) => {
                format!("no value of type {type_name}: nothing in the database has that name")
            }
            (_, "22P02") if is_number(type_name) => format!("not a number: no value of type {type_name}"),
            ("54", _) => format!("too large for type {type_name}"),
            _ => format!("no value of type {type_name}"),
        }
    }

    /// Which constraint a row violates, and whose constraint it is.
    pub(crate) fn violation_detail(&self) -> String {
        format!("{} (SQLSTATE {})", self.violation(), self.sqlstate)
    }

    fn violation(&self) -> String {
        let owner = self.constraint_owner();
        match (self.sqlstate.as_str(), &self.column, &self.constraint) {
            ("23502", Some(column), _) => format!("NULL is not allowed in column {column}{owner}"),
            ("23502", None, _) => format!("NULL is not allowed as a value{owner}"),
            (_, _, Some(constraint)) => {
                format!("violates the {} {constraint}{owner}", self.constraint_kind())
            }
            _ => format!("violates a {}{owner}", self.constraint_kind()),
        }
    }

    fn constraint_kind(&self) -> &'static str {
        match self.sqlstate.as_str() {
            "23503" => "foreign key",
            "23505" => "unique constraint",
            "23514" => "check constraint",
            "23P01" => "exclusion constraint",
            _ => "constraint",
        }
    }

    fn constraint_owner(&self) -> String {
        match (&self.schema, &self.table, &self.data_type) {
            (Some(schema), Some(table), _) => format!(" of table {schema}.{table}"),
            (Some(schema), None, Some(domain)) => format!(" of domain {schema}.{domain}"),
            _ => String::new(),
        }
    }
}

/// Whether a type's values are numbers alone.
fn is_number(type_name: &str) -> bool {
    let name = type_name.split('(').next().unwrap_or_default();
    ["numeric", "real", "double precision", "smallint", "integer", "bigint", "oid", "money"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_is_described_by_its_type_and_what_is_wrong() {
        for (sqlstate, expected) in [
            ("22P02", "no value of type inet"),
            ("22007", "no value of type inet"),
            ("22003", "out of range for type inet"),
            ("22008", "out of range for type inet"),
            ("22001", "too long for type inet"),
            ("22026", "not of the length of type inet"),
            ("22P05", "no value of type inet: it has a character that the database cannot store"),
            ("42P01", "no value of type inet: nothing in the database has that name"),
            ("42601", "no value of type inet: its syntax is wrong"),
            ("23514", "refused by a constraint of type inet"),
            ("54000", "too large for type inet"),
            ("0A000", "a kind of value that type inet does not support"),
            ("P0001", "no value of type inet"),
        ] {
            let detail = ServerError::with_sqlstate(sqlstate).input_detail("inet");
            assert_eq!(detail, format!("{expected} (SQLSTATE {sqlstate})"));
        }
    }

    #[test]
    fn a_text_in_a_column_of_numbers_is_not_a_number() {
        for type_name in ["numeric(10,2)", "double precision", "oid"] {
            let detail = ServerError::with_sqlstate("22P02").input_detail(type_name);
            assert_eq!(detail, format!("not a number: no value of type {type_name} (SQLSTATE 22P02)"));
        }
    }

    #[test]
    fn a_violated_constraint_has_its_kind_its_name_and_its_table() {
        let error = |sqlstate: &str| ServerError {
            schema: Some("public".into()),
            table: Some("logins".into()),
            constraint: Some("c".into()),
            ..ServerError::with_sqlstate(sqlstate)
        };
        for (sqlstate, expected) in [
            ("23503", "violates the foreign key c of table public.logins"),
            ("23505", "violates the unique constraint c of table public.logins"),
            ("23514", "violates the check constraint c of table public.logins"),
            ("23P01", "violates the exclusion constraint c of table public.logins"),
            ("23001", "violates the constraint c of table public.logins"),
        ] {
            assert_eq!(error(sqlstate).violation_detail(), format!("{expected} (SQLSTATE {sqlstate})"));
        }
        let null = ServerError { column: Some("a".into()), constraint: None, ..error("23502") };
        assert_eq!(
            null.violation_detail(),
            "NULL is not allowed in column a of table public.logins (SQLSTATE 23502)"
        );
        let domain = ServerError { table: None, data_type: Some("short".into()), ..error("23514") };
        assert_eq!(
            domain.violation_detail(),
            "violates the check constraint c of domain public.short (SQLSTATE 23514)"
        );
    }
}
