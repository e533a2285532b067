//! The search paths of a session: one for what the table's owner wrote, one for the writer's own statements.

use super::quoted;

/// Holds nothing that anybody else can write to. Postgres looks into the temporary schema first unless it is
/// named, so it is named last.
pub(crate) const OWN: &str = "pg_catalog, pg_temp";

/// The role's own search path, made safe: triggers, defaults and domains of the table may rely on it.
///
/// `pg_catalog` is left out, because Postgres then searches it before all others. The temporary schema is
/// searched last. By Postgres's default, a role named `veilpost` would find schema `veilpost` first and
/// create its tables there.
pub(super) fn of_role(setting: &str, role: &str) -> String {
    let schemas = split(setting).into_iter().filter_map(|schema| match schema.as_str() {
        "" | "pg_catalog" | "pg_temp" => None,
        "$user" if role == "veilpost" => Some(quoted("public")),
        _ => Some(quoted(&schema)),
    });
    schemas.chain(["pg_temp".to_owned()]).collect::<Vec<_>>().join(", ")
}

/// The names in a setting: separated by commas, in quotes or in lower case.
fn split(setting: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut in_quotes = false;
    let mut characters = setting.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(name) = names.last_mut() else { break };
        match character {
            '"' if in_quotes && characters.peek() == Some(&'"') => name.extend(characters.next()),
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => names.push(String::new()),
            _ if in_quotes => name.push(character),
            _ if character.is_whitespace() => {}
            _ => name.push(character.to_ascii_lowercase()),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_catalogue_comes_first_and_the_temporary_schema_last() {
        for (setting, expected) in [
            (r#""$user", public"#, r#""$user", "public", pg_temp"#),
            ("public, pg_catalog", r#""public", pg_temp"#),
            ("pg_temp, Events", r#""events", pg_temp"#),
            (r#""a,""b", c"#, r#""a,""b", "c", pg_temp"#),
            (r#""""#, "pg_temp"),
            ("", "pg_temp"),
        ] {
            assert_eq!(of_role(setting, "writer"), expected, "{setting}");
        }
    }

    #[test]
    fn a_role_named_like_the_ledgers_schema_does_not_find_that_schema_first() {
        assert_eq!(of_role(r#""$user", public"#, "veilpost"), r#""public", "public", pg_temp"#);
    }

    proptest! {
        #[test]
        fn names_survive_quoting(names in proptest::collection::vec("[a-zA-Z\", $]{1,8}", 1..5)) {
            let setting = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(split(&setting), names);
        }
    }
}
