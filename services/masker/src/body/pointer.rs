//! JSON Pointers (RFC 6901): where in a body a column's value is.

use std::fmt;

use jsonptr::{ParseError, PointerBuf};

/// A pointer from the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer(PointerBuf);

impl Pointer {
    /// Reads a pointer; the error says what is wrong and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match jsonptr::Pointer::parse(text) {
            Ok(pointer) => Ok(Self(pointer.to_buf())),
            Err(ParseError::NoLeadingSlash) => {
                Err(format!("{text:?} is not a JSON Pointer: it must begin with a slash, as in \"/{text}\""))
            }
            Err(ParseError::InvalidEncoding { .. }) => Err(format!(
                "{text:?} is not a JSON Pointer: in a name, write ~0 for a tilde and ~1 for a slash"
            )),
        }
    }

    /// The names on the way from the whole body to the value, without escapes; none for the whole body.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.0.tokens().map(|token| token.decoded().into_owned())
    }

    /// The pointer as policies write it.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn is_whole_body(&self) -> bool {
        self.0.is_root()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_whole_body() { "(the whole body)" } else { self.0.as_str() })
    }
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
