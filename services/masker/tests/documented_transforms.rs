//! The examples in docs/transforms.md do what they say.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use veilpost_masker::{HmacKeys, Mask, Policy};
use veilpost_proto::v1::RawRecord;
use veilpost_proto::v1::value::Kind;

const DOCUMENT: &str = include_str!("../../../docs/transforms.md");

/// The cells of each row under the heading "Examples", without those of the table's head.
fn examples() -> Vec<[String; 3]> {
    let (_, section) = DOCUMENT.split_once("\n## Examples\n").unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        let inner = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        inner.collect::<Vec<_>>().try_into().expect("three cells")
    };
    rows.map(cells).collect()
}

fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(cell)
}

/// What the masker makes of a field, as the document writes it.
fn result(keys: &str, field: &str) -> String {
    let policy = format!(
        "table = \"t\"\nunknown_record = \"store\"\ncolumn = [{{ name = \"c\", source = \"/f\", {keys} }}]\n"
    );
    let mask = Mask::new(&Policy::parse(&policy, "p.toml").unwrap(), &HmacKeys::default()).unwrap();
    let body = if field == "absent" { "{}".to_owned() } else { format!("{{\"f\": {field}}}") };
    let record = RawRecord { body: Some(body.into()), ..RawRecord::default() };
    match mask.apply(&record, jiff::Timestamp::UNIX_EPOCH) {
        Ok(masked) => match masked.record.values.into_iter().next().unwrap().kind {
            None => "NULL".to_owned(),
            Some(Kind::Text(text)) => serde_json::to_string(&text).unwrap(),
            Some(Kind::Number(text) | Kind::Json(text)) => text,
            Some(Kind::Boolean(boolean)) => boolean.to_string(),
        },
        Err(rejected) => {
            let (_, rule) = rejected.detail.split_once(": ").unwrap();
            format!("{}: {rule}", rejected.reason.name())
        }
    }
}

#[test]
fn every_example_in_the_reference_of_transforms_is_true() {
    let examples = examples();
    assert!(examples.len() > 40, "only {} examples were found", examples.len());
    for [keys, field, expected] in &examples {
        assert_eq!(result(code(keys), code(field)), code(expected), "{keys} of {field}");
    }
}
