//! Whether an error of Postgres arose in the target itself.

use std::collections::HashSet;

use super::ResolvedTarget;
use crate::database::{Blame, DbError, Origin, ServerError, Session, blame_at, within};

/// Whether a relation is a partition of the table.
const IS_PARTITION: &str = "
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_partition_tree($1::pg_catalog.int8::pg_catalog.oid) p
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relid::pg_catalog.oid
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) $3
          AND c.relname::pg_catalog.text OPERATOR(pg_catalog.=) $4 AND $2::pg_catalog.text[] IS NOT NULL)";

/// Whether a domain is the type of one of these columns of the table, or what that type is based on.
const IS_DOMAIN: &str = "
    WITH RECURSIVE used AS (
        SELECT a.atttypid AS type FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.int8::pg_catalog.oid
          AND a.attname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])
      UNION
        SELECT t.typbasetype FROM used u JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) u.type
        WHERE t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\")
    SELECT EXISTS (
        SELECT FROM used u JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) u.type
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
        WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) $3
          AND t.typname::pg_catalog.text OPERATOR(pg_catalog.=) $4
          AND t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\")";

/// What an error names; the catalogue says whether it is a part of the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum NamedPart {
    /// A relation, by schema and name.
    Relation(String, String),
    /// A type, by schema and name.
    Domain(String, String),
}

/// What an error says by itself: its origin, or the part that must be looked up.
#[derive(Debug, PartialEq, Eq)]
enum OriginOrPart {
    Origin(Origin),
    Part(NamedPart),
}

/// The partitions and domains that are known to be a target's own.
#[derive(Debug, Default)]
pub(crate) struct OwnParts(HashSet<NamedPart>);

impl OwnParts {
    /// Who is to blame for an error of an insert. NULL in a column that the stream does not fill is not a
    /// record's fault. When the catalogue cannot be asked, nobody is for sure.
    pub(crate) async fn blame(
        &mut self,
        session: &mut Session,
        target: &ResolvedTarget,
        error: &DbError,
    ) -> Blame {
        match error {
            DbError::Server(server) if target.lacks_value(server) => Blame::Catalogue,
            DbError::Server(server) => blame_at(error, self.origin(session, target, server).await),
            _ => blame_at(error, Origin::Elsewhere),
        }
    }

    async fn origin(
        &mut self,
        session: &mut Session,
        target: &ResolvedTarget,
        error: &ServerError,
    ) -> Origin {
        let named = match known(target, error) {
            OriginOrPart::Origin(origin) => return origin,
            OriginOrPart::Part(named) => named,
        };
        if self.0.contains(&named) {
            return Origin::Target;
        }
        match is_own(session, target, &named).await {
            Ok(true) => {
                self.0.insert(named);
                Origin::Target
            }
            Ok(false) => Origin::Elsewhere,
            Err(error) => {
                tracing::debug!(error = error.to_string(), "the origin of an error cannot be looked up");
                Origin::Elsewhere
            }
        }
    }
}

/// Only class 23 has an origin that matters. What a function or trigger was doing is not the target's, even
/// when it was writing to the target.
fn known(target: &ResolvedTarget, error: &ServerError) -> OriginOrPart {
    let elsewhere = OriginOrPart::Origin(Origin::Elsewhere);
    let (Some(schema), "23", false) = (&error.schema, error.class(), error.is_nested) else {
        return elsewhere;
    };
    match (&error.table, &error.data_type) {
        (Some(_), _) if schema == "veilpost" => OriginOrPart::Origin(Origin::Ledger),
        (Some(table), _) if *schema == target.table.schema && *table == target.table.name => {
            OriginOrPart::Origin(Origin::Target)
        }
        (Some(table), _) => OriginOrPart::Part(NamedPart::Relation(schema.clone(), table.clone())),
        (None, Some(domain)) => OriginOrPart::Part(NamedPart::Domain(schema.clone(), domain.clone())),
        (None, None) => elsewhere,
    }
}

async fn is_own(session: &mut Session, target: &ResolvedTarget, named: &NamedPart) -> Result<bool, DbError> {
    let (sql, schema, name) = match named {
        NamedPart::Relation(schema, name) => (IS_PARTITION, schema, name),
        NamedPart::Domain(schema, name) => (IS_DOMAIN, schema, name),
    };
    let columns: Vec<&str> = target.columns.iter().map(|column| column.name.as_str()).collect();
    let query =
        sqlx::query_scalar(sql).bind(i64::from(target.table.oid)).bind(columns).bind(schema).bind(name);
    let deadline = session.deadline();
    within(deadline, query.fetch_one(session.connection())).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixtures::{column, table};
    use veilpost_proto::v1;

    fn target() -> ResolvedTarget {
        let wanted =
            v1::Target { table: "logins".into(), columns: vec!["a".into()], ..v1::Target::default() };
        ResolvedTarget::resolve(&table(vec![column("a")]), &wanted).unwrap()
    }

    fn error(schema: &str, table: Option<&str>, data_type: Option<&str>) -> ServerError {
        ServerError {
            schema: Some(schema.into()),
            table: table.map(str::to_owned),
            data_type: data_type.map(str::to_owned),
            ..ServerError::with_sqlstate("23505")
        }
    }

    #[test]
    fn an_error_names_the_target_or_the_ledger_or_something_to_be_asked_about() {
        let relation =
            |schema: &str, name: &str| OriginOrPart::Part(NamedPart::Relation(schema.into(), name.into()));
        for (named, expected) in [
            (error("public", Some("logins"), None), OriginOrPart::Origin(Origin::Target)),
            (error("veilpost", Some("ledger_3"), None), OriginOrPart::Origin(Origin::Ledger)),
            (error("audit", Some("logins"), None), relation("audit", "logins")),
            (error("public", Some("log"), None), relation("public", "log")),
            (
                error("public", None, Some("short")),
                OriginOrPart::Part(NamedPart::Domain("public".into(), "short".into())),
            ),
            (error("public", None, None), OriginOrPart::Origin(Origin::Elsewhere)),
            (ServerError::with_sqlstate("23505"), OriginOrPart::Origin(Origin::Elsewhere)),
        ] {
            assert_eq!(known(&target(), &named), expected);
        }
    }

    #[test]
    fn what_a_trigger_does_to_the_target_is_not_the_records_doing() {
        let nested = ServerError { is_nested: true, ..error("public", Some("logins"), None) };
        assert_eq!(known(&target(), &nested), OriginOrPart::Origin(Origin::Elsewhere));
        let other_class = ServerError { sqlstate: "22012".into(), ..error("public", Some("logins"), None) };
        assert_eq!(known(&target(), &other_class), OriginOrPart::Origin(Origin::Elsewhere));
    }
}
