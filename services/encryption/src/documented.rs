//! The example of `docs/encryption-format.md`, made again.

use std::fmt::Write as _;

use crate::tests::data_key;
use crate::value::{self, NONCE_LEN, ValueKey};
use crate::{Clear, Context, Opener, Padding, SealingKey};

const PAGE: &str = include_str!("../../../docs/encryption-format.md");

const VALUE: Clear<'_> = Clear::Text("203.0.113.7");
const BOUND: Option<&str> = Some("message 4711");

/// Bytes in hexadecimal, 32 to a line, under a name.
fn block(out: &mut String, name: &str, bytes: &[u8]) {
    for (number, chunk) in bytes.chunks(32).enumerate() {
        let name = if number == 0 { name } else { "" };
        writeln!(out, "    {name:<16}{}", const_hex::encode(chunk)).unwrap();
    }
}

#[test]
fn the_example_on_the_page_is_what_this_code_makes() {
    let (key, context) = (data_key(1), Context::new("user_logins/ip").unwrap());
    let (nonce, padding) = ([2; NONCE_LEN], Padding::to_multiple_of(16).unwrap());
    let value_key = ValueKey::derive(&key, &context, None).unwrap();
    let mut plaintext = Vec::new();
    value::push(&mut plaintext, VALUE, padding);
    let sealer = SealingKey::of(key.clone()).sealer(&context, padding).unwrap();
    let text = sealer.seal_with_nonce(nonce, VALUE, BOUND).unwrap();

    let mut example = String::new();
    block(&mut example, "data key", key.secret());
    block(&mut example, "key id", key.id().as_bytes());
    block(&mut example, "commitment", key.commitment().as_bytes());
    writeln!(example, "    {:<16}{context}", "context").unwrap();
    block(&mut example, "value key", key.value_key(&context, None).unwrap().as_slice());
    writeln!(example, "    {:<16}the text {}, padded to 16 bytes", "value", VALUE.as_str()).unwrap();
    block(&mut example, "plaintext", &plaintext);
    writeln!(example, "    {:<16}{}", "bound text", BOUND.unwrap()).unwrap();
    block(&mut example, "associated data", &value_key.associated(BOUND));
    block(&mut example, "nonce", &nonce);
    writeln!(example, "\n    {text}").unwrap();

    let on_page = PAGE.split_once("<!-- example -->\n").unwrap().1.split_once("<!-- /example -->").unwrap().0;
    assert_eq!(on_page.trim_end(), example.trim_end(), "the page should have:\n\n{example}");

    let mut opener = Opener::default();
    opener.add(key);
    assert!(opener.context(&context).open(&text, BOUND, None).unwrap().as_clear() == VALUE);
}
