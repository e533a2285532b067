//! No CA at all, in place of Mozilla's list.
//!
//! sqlx adds the CAs of the crate `webpki-roots` to those that `sslrootcert` names, and has no setting
//! against it. With this crate in its place (`[patch.crates-io]` in the workspace's manifest), only those
//! count that the writer hands over: the file's, or this machine's.

use pki_types::TrustAnchor;

/// The CAs that sqlx trusts beside the given ones: none.
pub static TLS_SERVER_ROOTS: &[TrustAnchor<'static>] = &[];
