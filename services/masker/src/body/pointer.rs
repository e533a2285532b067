//! JSON Pointers (RFC 6901): where in a body a column's value is.

use std::fmt;

/// A pointer from the policy, with its escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: String,
    segments: Vec<String>,
}

impl Pointer {
    /// Reads a pointer; the error says what is wrong and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let segments = match text.strip_prefix('/') {
            Some(path) => path.split('/').map(unescape).collect::<Option<_>>(),
            None if text.is_empty() => Some(Vec::new()),
            None => {
                return Err(format!("{text:?} is not a JSON Pointer; one begins with a slash: \"/{text}\""));
            }
        };
        let segments = segments.ok_or_else(|| {
            format!("{text:?} is not a JSON Pointer; a tilde is written ~0 in one, and a slash in a name ~1")
        })?;
        Ok(Self { text: text.to_owned(), segments })
    }

    /// The names on the way from the whole body to the value; none for the whole body.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.segments.iter().cloned()
    }

    pub(crate) fn is_whole_body(&self) -> bool {
        self.segments.is_empty()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.text.is_empty() { "(the whole body)" } else { &self.text })
    }
}

fn unescape(segment: &str) -> Option<String> {
    let mut parts = segment.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = part
            .strip_prefix('0')
            .map(|rest| ('~', rest))
            .or_else(|| part.strip_prefix('1').map(|rest| ('/', rest)))?;
        name.push(escaped);
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::Pointer;

    fn names(text: &str) -> Vec<String> {
        Pointer::parse(text).unwrap().names().collect()
    }

    #[test]
    fn the_examples_of_rfc_6901_are_read() {
        assert_eq!(names(""), Vec::<String>::new());
        assert_eq!(names("/foo"), ["foo"]);
        assert_eq!(names("/foo/0"), ["foo", "0"]);
        assert_eq!(names("/"), [""]);
        assert_eq!(names("/a~1b"), ["a/b"]);
        assert_eq!(names("/m~0n"), ["m~n"]);
        assert_eq!(names("/~01"), ["~1"], "a resolved tilde does not begin another escape");
        assert_eq!(names("/ /k\"l/c%d"), [" ", "k\"l", "c%d"]);
    }

    #[test]
    fn what_is_no_pointer_is_refused_with_advice() {
        assert!(Pointer::parse("ip").unwrap_err().contains("\"/ip\""));
        for bad in ["/a~", "/a~2", "/~", "/~~0"] {
            assert!(Pointer::parse(bad).unwrap_err().contains("~0"), "{bad}");
        }
    }
}
