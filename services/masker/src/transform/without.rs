//! `without`: an object or array from which some values are removed; the rest stays byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::body::Pointer;

/// The values to remove, as a tree of names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Without {
    removed: bool,
    /// The name as a position, for an array.
    position: Option<usize>,
    children: BTreeMap<Box<str>, Without>,
}

impl Without {
    /// Adds a value to remove. The error says which one makes the other useless.
    pub(crate) fn add(&mut self, pointer: &Pointer) -> Result<(), &'static str> {
        let mut branch = self;
        for name in pointer.names() {
            if branch.removed {
                return Err("is inside of another value that is removed");
            }
            branch = branch
                .children
                .entry(name.as_str().into())
                .or_insert_with(|| Self { position: position(&name), ..Self::default() });
        }
        match (branch.removed, branch.children.is_empty()) {
            (true, _) => Err("is there twice"),
            (false, false) => Err("contains another value that is removed"),
            (false, true) => {
                branch.removed = true;
                Ok(())
            }
        }
    }

    /// `json`, an object or array that is well-formed, without the values. Of a key that is there more than
    /// once, every value is removed.
    pub(super) fn of(&self, json: &str) -> String {
        let mut rest = String::with_capacity(json.len());
        self.write(json, &mut rest);
        rest
    }

    fn write(&self, json: &str, out: &mut String) {
        let (open, close) = if json.starts_with('{') { ('{', '}') } else { ('[', ']') };
        let inner = json.strip_prefix(open).and_then(|inner| inner.strip_suffix(close));
        out.push(open);
        let mut first = true;
        for (position, item) in Items(inner.filter(|inner| !is_blank(inner))).enumerate() {
            let (branch, value) = if open == '{' { self.member(item) } else { self.element(position, item) };
            if branch.is_some_and(|branch| branch.removed) {
                continue;
            }
            if !first {
                out.push(',');
            }
            first = false;
            write_item(item, value, branch, out);
        }
        if inner.is_some_and(is_blank) {
            out.push_str(inner.unwrap_or_default());
        }
        out.push(close);
    }

    /// The branch and the value of `"key": value`.
    fn member<'a>(&self, item: &'a str) -> (Option<&Self>, &'a str) {
        let start = item.trim_start_matches(BLANKS);
        let (key, rest) = start.split_at_checked(string_end(start)).unwrap_or((start, ""));
        let value = rest.trim_start_matches(BLANKS).strip_prefix(':').unwrap_or(rest);
        (self.children.get(unquoted(key).as_ref()), value.trim_matches(BLANKS))
    }

    fn element<'a>(&self, position: usize, item: &'a str) -> (Option<&Self>, &'a str) {
        let branch = self.children.values().find(|branch| branch.position == Some(position));
        (branch, item.trim_matches(BLANKS))
    }
}

/// Writes an item that stays, without what is to be removed from its `value`.
fn write_item(item: &str, value: &str, branch: Option<&Without>, out: &mut String) {
    let start = item.trim_end_matches(BLANKS).strip_suffix(value).unwrap_or_default();
    match branch {
        Some(branch) if value.starts_with(['{', '[']) => {
            out.push_str(start);
            branch.write(value, out);
            out.push_str(item.get(start.len() + value.len()..).unwrap_or_default());
        }
        _ => out.push_str(item),
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

fn is_blank(text: &str) -> bool {
    text.trim_matches(BLANKS).is_empty()
}

/// A key without quotation marks and escapes.
fn unquoted(key: &str) -> Cow<'_, str> {
    let plain =
        key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|text| !text.contains('\\'));
    plain.map_or_else(|| serde_json::from_str(key).unwrap_or_default(), Cow::Borrowed)
}

/// Where the string that begins `text` ends.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let closing = text.bytes().enumerate().skip(1).find(|(_, byte)| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(text.len(), |(at, _)| at + 1)
}

/// The members of an object or elements of an array, each with the white space around it.
struct Items<'a>(Option<&'a str>);

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        let (item, after) = match item_end(rest).and_then(|at| rest.split_at_checked(at)) {
            Some((item, after)) => (item, after.strip_prefix(',')),
            None => (rest, None),
        };
        self.0 = after;
        Some(item)
    }
}

/// Where the comma after the first item is.
fn item_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += string_end(text.get(at..)?) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// A name as an array's position. RFC 6901 takes only digits without leading zeros for one.
fn position(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if digits { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(pointers: &[&str], json: &str) -> String {
        let mut tree = Without::default();
        for pointer in pointers {
            tree.add(&Pointer::parse(pointer).unwrap()).unwrap();
        }
        tree.of(json)
    }

    #[test]
    fn values_are_removed_and_the_rest_stays_byte_for_byte() {
        for (pointers, json, rest) in [
            (
                &["/card/number"][..],
                r#"{"card": {"number":"4111", "type":"visa"}, "n":1.00}"#,
                r#"{"card": { "type":"visa"}, "n":1.00}"#,
            ),
            (
                &["/b"],
                r#"{"a":1E5,"b":2,"c":12345678901234567890.10}"#,
                r#"{"a":1E5,"c":12345678901234567890.10}"#,
            ),
            (&["/a"], r#"{ "a" : 1 }"#, "{}"),
            (&["/c"], r#"{ "a" : 1 }"#, r#"{ "a" : 1 }"#),
            (&["/a"], "{ }", "{ }"),
            (&["/a", "/c"], r#"{"a":[{"x":"},"}],"b":"\",\\","c":{}}"#, r#"{"b":"\",\\"}"#),
            (&["/a/b"], r#"{"a":1,"a":{"b":2,"c":3},"a":{"b":[4]}}"#, r#"{"a":1,"a":{"c":3},"a":{}}"#),
            (&["/a"], r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"b":2}"#),
            (&["/1"], "[1, 2, 3]", "[1, 3]"),
            (&["/01"], "[1, 2, 3]", "[1, 2, 3]"),
            (&["/0/a"], r#"[{"a":1},{"a":2}]"#, r#"[{},{"a":2}]"#),
            (&["/a~1b/m~0n"], r#"{"a/b":{"m~n":1},"a":{"b":1}}"#, r#"{"a/b":{},"a":{"b":1}}"#),
            (&["/"], r#"{"":1,"a":2}"#, r#"{"a":2}"#),
            (&["/a/b"], r#"{"a":"scalar"}"#, r#"{"a":"scalar"}"#),
        ] {
            assert_eq!(without(pointers, json), rest, "{pointers:?} of {json}");
        }
    }

    #[test]
    fn a_pointer_that_changes_nothing_beside_another_is_refused() {
        for (one, other) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a")] {
            let mut tree = Without::default();
            tree.add(&Pointer::parse(one).unwrap()).unwrap();
            assert!(tree.add(&Pointer::parse(other).unwrap()).is_err(), "{one} {other}");
        }
    }
}
