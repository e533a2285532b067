//! RSA-OAEP with SHA-256 and MGF1 with SHA-256 (RFC 8017, section 7.1), without a label.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use zeroize::Zeroizing;

pub(crate) fn seal(key: &PublicEncryptingKey, plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let key = OaepPublicEncryptingKey::new(key.clone())?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut out, None)?.len();
    out.truncate(length);
    Ok(out)
}

pub(crate) fn open(key: &PrivateDecryptingKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let key = OaepPrivateDecryptingKey::new(key.clone())?;
    let mut out = Zeroizing::new(vec![0; key.min_output_size()]);
    let length = key.decrypt(&OAEP_SHA256_MGF1SHA256, sealed, &mut out, None)?.len();
    out.truncate(length);
    Ok(out)
}
