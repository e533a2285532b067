//! Sealing and opening one value, and wrapping a data key.

use divan::Bencher;
use veilpost_encryption::{Clear, Context, Limits, Opener, Padding, PrivateKey, SealingKey, Suite, Wrap};

fn main() {
    divan::main();
}

const LENGTHS: [usize; 3] = [16, 64, 1024];

/// The id of a row, as most policies bind values to one.
const ROW: &str = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d";

fn context() -> Context {
    Context::new("user_logins/ip").expect("the context is well-formed")
}

fn key() -> SealingKey {
    SealingKey::generate(Limits::default()).expect("the system has random bytes")
}

#[divan::bench(args = LENGTHS)]
fn seal(bencher: Bencher, length: usize) {
    let padding = Padding::to_multiple_of(32).expect("the padding is small");
    let sealer = key().sealer(&context(), padding).expect("the key is derived");
    let value = "x".repeat(length);
    bencher.bench(|| sealer.seal(Clear::Text(&value), Some(ROW)));
}

#[divan::bench(args = LENGTHS)]
fn open(bencher: Bencher, length: usize) {
    let key = key();
    let padding = Padding::to_multiple_of(32).expect("the padding is small");
    let sealer = key.sealer(&context(), padding).expect("the key is derived");
    let text = sealer.seal(Clear::Text(&"x".repeat(length)), Some(ROW)).expect("the value is short");
    let mut opener = Opener::default();
    opener.add(key.data_key().clone());
    let mut opening = opener.context(&context());
    bencher.bench_local(|| opening.open(&text, Some(ROW), None).is_ok());
}

#[divan::bench(args = Suite::ALL)]
fn wrap(bencher: Bencher, suite: Suite) {
    let (key, public) = (key(), private(suite).public_key().expect("the key is derived"));
    bencher.bench(|| public.wrap(key.data_key()));
}

#[divan::bench(args = Suite::ALL)]
fn unwrap(bencher: Bencher, suite: Suite) {
    let (key, private) = (key(), private(suite));
    let wrap: Wrap =
        private.public_key().expect("the key is derived").wrap(key.data_key()).expect("it wraps");
    bencher.bench(|| private.unwrap_key(&wrap).is_ok());
}

fn private(suite: Suite) -> PrivateKey {
    PrivateKey::generate(suite, "bench".parse().expect("the id is well-formed")).expect("it is made")
}
