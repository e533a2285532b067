//! The context of a value: which column of which table it belongs to.

use std::fmt;

/// The longest context, in bytes.
const MAX_LEN: usize = 200;

/// What a value belongs to, such as `user_logins/ip`. Each context has a key of its own, so a value that is
/// moved to a column with another context does not open. Like a name in a database, it is not secret; it must
/// stay the same for as long as values are to be opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Context(String);

/// The text is not a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a context has 1 to 200 bytes and no control characters")]
pub struct ContextError;

impl Context {
    /// # Errors
    ///
    /// If the text is empty, longer than 200 bytes, or has control characters.
    pub fn new(text: &str) -> Result<Self, ContextError> {
        let fits = (1..=MAX_LEN).contains(&text.len()) && !text.contains(char::is_control);
        fits.then(|| Self(text.to_owned())).ok_or(ContextError)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_short_and_printable() {
        assert!(Context::new("user_logins/ip").is_ok());
        assert!(Context::new(&"c".repeat(200)).is_ok());
        for refused in ["", "a\nb", "a\0", &"c".repeat(201)] {
            assert_eq!(Context::new(refused), Err(ContextError), "{refused:?}");
        }
    }
}
