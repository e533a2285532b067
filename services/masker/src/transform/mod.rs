//! Transforms: how a column gets its value.

pub(crate) mod hmac_keys;
pub(crate) mod hmac_sha512;
pub(crate) mod major_version;
