//! Policies that are read, and those that are refused.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::transforms::{TRANSFORMS, known_transforms};
use super::{Policy, UnknownRecord};
use crate::transform::{FieldTransform, Transform};

fn refusal(text: &str) -> String {
    Policy::parse(text, "p.toml").unwrap_err().to_string()
}

/// A policy of one column, whose keys are `keys`; they begin in line 3.
fn column(keys: &str) -> String {
    format!("table = \"t\"\n[[column]]\n{keys}\n")
}

#[test]
fn the_default_policy_is_the_table_of_the_design() {
    let policy = Policy::load(None).unwrap();
    assert_eq!(policy.table, "user_logins");
    assert_eq!(policy.unknown_record, UnknownRecord::Store);
    let columns: Vec<_> = policy
        .columns
        .iter()
        .map(|column| {
            let source = column.transform.source().map(ToString::to_string).unwrap_or_default();
            format!("{} {} {source}", column.name, column.transform_name)
        })
        .collect();
    assert_eq!(
        columns,
        [
            "user_id copy /user_id",
            "device_type copy /device_type",
            "masked_ip sha512 /ip",
            "masked_device_id sha512 /device_id",
            "locale copy /locale",
            "app_version major-version /app_version",
            "create_date ingest-date ",
        ]
    );
}

#[test]
fn every_transform_is_read() {
    let policy = Policy::parse(include_str!("../../tests/every_transform.toml"), "p.toml").unwrap();
    let read: BTreeSet<_> = policy.columns.iter().map(|column| column.transform_name).collect();
    assert_eq!(read, TRANSFORMS.iter().map(|syntax| syntax.name).collect());
    let keyed = policy.columns.iter().find(|column| column.transform_name == "hmac-sha512").unwrap();
    assert!(matches!(&keyed.transform, Transform::Field { how: FieldTransform::HmacSha512(_), .. }));
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_a_way_out() {
    let cases: [(&str, &str, &str); 16] = [
        ("name='c'\ntransform='copy'", "p.toml:4:11", "needs a `source`"),
        ("name='c'\nsource='ip'\ntransform='copy'", "p.toml:4:8", "\"/ip\""),
        ("name='c'\nsource='/~'\ntransform='copy'", "p.toml:4:8", "~0"),
        ("name='c'\nsource='/a'\ntransform='md5'", "p.toml:5:11", "hmac-sha512"),
        ("name='c'\nsource='/a'", "p.toml:3:6", "no `transform`"),
        ("transform='copy'\nsource='/a'", "p.toml:2:1", "no `name`"),
        ("name=''\ntransform='message-id'", "p.toml:3:6", "column name"),
        ("name='c'\ntransform='message-id'\nsource='/a'", "p.toml:5:8", "remove it"),
        ("name='c'\nsource='/a'\ntransform='sha512'\nkey='k1'", "p.toml:6:5", "hmac-sha512"),
        ("name='c'\nsource='/a'\ntransform='hmac-sha512'\nkey='k1'", "p.toml:5:11", "`domain`"),
        ("name='c'\nsource='/a'\ntransform='hmac-sha512'\ndomain='d'", "p.toml:5:11", "`key`"),
        ("name='c'\nsource='/a'\ntransform='hmac-sha512'\ndomain=''\nkey='k'", "p.toml:6:8", "not empty"),
        ("name='c'\nsource='/a'\ntransform='hmac-sha512'\ndomain='d'\nkey='k.1'", "p.toml:7:5", "key id"),
        ("name='c'\nsource=''\ntransform='sha512'", "p.toml:4:8", "whole body"),
        ("name='c'\nsuorce='/a'\ntransform='copy'", "p.toml:4:1", "suorce"),
        ("name=5\ntransform='message-id'", "p.toml:3:6", "a text, not an integer"),
    ];
    for (keys, place, advice) in cases {
        let refusal = refusal(&column(keys));
        assert!(refusal.starts_with(&format!("{place}: ")), "{keys}: {refusal}");
        assert!(refusal.contains(advice), "{keys}: {refusal}");
    }
}

#[test]
fn the_table_and_the_columns_must_be_there() {
    let id = "[[column]]\nname='c'\ntransform='message-id'\n";
    assert!(refusal(id).starts_with("p.toml:1:1: `table` is missing"));
    assert!(refusal(&format!("table=''\n{id}")).contains("schema.table"));
    assert!(refusal(&format!("table='a.b.c'\n{id}")).starts_with("p.toml:1:7: "));
    assert!(refusal("table='t'").contains("no columns"));
    assert!(refusal("table='t'\ntable='u'").starts_with("p.toml:2:1: "));
    assert!(refusal("table=").starts_with("p.toml:1:7: "));
    assert!(refusal("table='t'\n[column]\nname='c'").contains("[[column]]"));
    assert!(refusal(&format!("table='t'\nunknown_record='drop'\n{id}")).starts_with("p.toml:2:16: "));
}

#[test]
fn a_column_has_one_entry() {
    let id = "[[column]]\nname='c'\ntransform='message-id'\n";
    assert!(refusal(&format!("table='t'\n{id}{id}")).starts_with("p.toml:6:6: column \"c\" is there twice"));
}

#[test]
fn a_policy_that_could_only_reject_is_refused() {
    let id = "[[column]]\nname='c'\ntransform='message-id'\n";
    let refusal = refusal(&format!("table='t'\nunknown_record='reject'\n{id}"));
    assert!(refusal.starts_with("p.toml:2:16: "), "{refusal}");
}

#[test]
fn all_problems_are_told_at_once_in_their_order() {
    let text = "table=''\n[[column]]\nname='c'\n[[column]]\nname='d'\ntransform='rot13'\n";
    let refusal = refusal(text);
    let places: Vec<_> = refusal.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["p.toml:1:7", "p.toml:3:6", "p.toml:6:11"]);
}

proptest! {
    #[test]
    fn every_refusal_of_any_text_has_a_place(text in r"([ -~\n]|table|\[\[column\]\]|name='c'\n|source){0,12}") {
        if let Err(error) = Policy::parse(&text, "p.toml") {
            prop_assert!(error.to_string().starts_with("p.toml:"));
        }
    }
}

#[test]
fn every_problem_of_a_column_is_told() {
    let text = "table='t'\n[[column]]\nname=''\nsource='a'\ntransform='partial'\nkeep_first=0\nmask='ab'\n\
                empty='x'\nkey='k'\nnormalize=['x', 'ip', 'y']\ndefualt='z'\n";
    let refusal = refusal(text);
    let places: Vec<_> = refusal.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = ["3:6", "4:8", "6:12", "7:6", "8:7", "9:5", "10:12", "10:23", "11:1"];
    assert_eq!(places, expected.map(|place| format!("p.toml:{place}")), "{refusal}");
}

#[test]
fn places_count_characters_also_of_several_problems_in_one_line() {
    let refusal =
        refusal("table='t'\ncolumn=[{name='ä', transform='é'},{name='c',source='/a',transform='x'}]\n");
    let places: Vec<_> = refusal.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["p.toml:2:30", "p.toml:2:67"], "{refusal}");
}

#[test]
fn error_lines_read_well() {
    let text = "table = 'a.b.c'\n[[column]]\nname = 'ip'\nsource = 'ip'\ntransform = 'sha512'\n\
                [[column]]\nname = 'mail'\nsource = '/mail'\ntransform = 'sha-512'\n\
                [[column]]\nname = 'id'\nsource = '/a~b'\ntransform = 'copy'\n\
                [[column]]\nname = 'day'\ntransform = 'sent-date'\ndomain = 'day'\n";
    let known = known_transforms().join(", ");
    let lines = format!(
        "p.toml:1:9: \"a.b.c\" is not a table; write \"table\" or \"schema.table\"\n\
         p.toml:4:10: \"ip\" is not a JSON Pointer: it must begin with a slash, as in \"/ip\"\n\
         p.toml:9:13: unknown transform \"sha-512\" (did you mean \"sha512\"?); the known ones are {known}\n\
         p.toml:12:10: \"/a~b\" is not a JSON Pointer: in a name, write ~0 for a tilde and ~1 for a slash\n\
         p.toml:17:10: `domain` with transform = \"sent-date\": it belongs to transform = \"hmac-sha512\"; \
         remove it"
    );
    assert_eq!(refusal(text), lines);
}
