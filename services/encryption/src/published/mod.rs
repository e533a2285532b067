//! Every primitive against vectors that others have published; `tests/vectors` says whose.

mod aes_gcm_siv;
mod hkdf;
mod hpke;
mod rsa;

/// The lines of a file of vectors, in words; `-` is the empty byte string.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    if hex == "-" { Vec::new() } else { const_hex::decode(hex).unwrap() }
}
