//! Private keys in files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::PrivateKey;

/// Writes a private key into a new file that only its owner may read (mode 0600). A comment above it names
/// the recipient and the fingerprint of the public key.
///
/// # Errors
///
/// If the file exists already, or cannot be written. A file that was begun may be left, readable by its owner
/// only.
pub fn write_private_key(path: &Path, key: &PrivateKey) -> io::Result<()> {
    let public = key.public_key().map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "# Private key of {}. Keep it secret: it opens every value.", key.recipient())?;
    writeln!(file, "# Fingerprint of its public key: {}", public.fingerprint())?;
    file.write_all(key.expose_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
