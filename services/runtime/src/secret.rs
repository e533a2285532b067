//! Reads secrets from a variable or from a file.

use std::path::Path;

use anyhow::Context;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::BadSettings;

/// The secret named `name`, from its value or from the file that holds it, without line ends at the end of
/// the file; `None` when neither is given.
///
/// # Errors
///
/// [`BadSettings`] when both are given, or when the file cannot be read. No message shows the secret.
pub fn secret(
    value: Option<SecretString>,
    file: Option<&Path>,
    name: &str,
) -> anyhow::Result<Option<SecretString>> {
    match (value, file) {
        (Some(_), Some(_)) => {
            Err(BadSettings(format!("{name} and {name}_FILE are both set; give only one")).into())
        }
        (value, None) => Ok(value),
        (None, Some(file)) => read(file)
            .with_context(|| BadSettings(format!("cannot read {name}_FILE {}", file.display())))
            .map(Some),
    }
}

fn read(file: &Path) -> std::io::Result<SecretString> {
    let text = Zeroizing::new(std::fs::read_to_string(file)?);
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::io::Write;

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_file_is_read_without_its_line_end() {
        let file = file_with("s3cret\r\n");
        let found = secret(None, Some(file.path()), "X").unwrap().unwrap();
        assert_eq!(found.expose_secret(), "s3cret");
    }

    #[test]
    fn value_and_file_together_are_bad_settings() {
        let file = file_with("s3cret");
        let error = secret(Some("other".into()), Some(file.path()), "X").unwrap_err();
        assert!(error.downcast_ref::<BadSettings>().is_some());
        assert!(!format!("{error:#}").contains("s3cret"));
    }

    #[test]
    fn a_missing_file_is_bad_settings_and_names_the_file() {
        let error = secret(None, Some(Path::new("/nowhere/at-all")), "X").unwrap_err();
        assert!(error.downcast_ref::<BadSettings>().is_some());
        assert!(format!("{error:#}").contains("/nowhere/at-all"));
    }
}
