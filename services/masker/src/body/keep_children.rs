//! Reads one object or array and keeps those of its values that a pointer leads to or through.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::node::Node;

/// Keeps the raw values of `node`'s children in the object or array `text`, each in its slot of `found`.
pub(super) fn keep_children<'a>(
    node: &Node,
    text: &'a str,
    found: &mut [Option<&'a str>],
) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(Children { node, found })?;
    json.end()
}

struct Children<'n, 'f, 'a> {
    node: &'n Node,
    found: &'f mut [Option<&'a str>],
}

impl<'a> Children<'_, '_, 'a> {
    fn keep(&mut self, child: &Node, raw: &'a RawValue) {
        if let Some(slot) = self.found.get_mut(child.slot) {
            *slot = Some(raw.get());
        }
    }
}

impl<'de> Visitor<'de> for Children<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or array")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(ChildNamed(self.node))? {
            match child {
                Some(child) => self.keep(child, map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        let mut position = 0;
        while let Some(raw) = array.next_element()? {
            let at = |child: &&Node| child.position == Some(position);
            if let Some(child) = self.node.children.values().find(at) {
                self.keep(child, raw);
            }
            position += 1;
        }
        Ok(())
    }
}

/// Reads a key and gives the child of that name, so that no key is copied.
struct ChildNamed<'n>(&'n Node);

impl<'de, 'n> DeserializeSeed<'de> for ChildNamed<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for ChildNamed<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.children.get(key))
    }
}
