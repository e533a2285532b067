use std::collections::HashSet;

use super::*;
use crate::{MAX_TEXT_LEN, SealedValue};

fn context() -> Context {
    Context::new("users/email").unwrap()
}

fn nonce_of(text: &str) -> Vec<u8> {
    SealedValue::parse(text).unwrap().payload[..NONCE_LEN].to_vec()
}

#[test]
fn no_nonce_repeats_among_threads_and_contexts_of_a_data_key() {
    const EACH: usize = 2000;
    let key = SealingKey::generate(Limits::default()).unwrap();
    let sealers =
        ["a", "a", "b", "c"].map(|name| key.sealer(&Context::new(name).unwrap(), Padding::NONE).unwrap());
    let nonces: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = sealers
            .iter()
            .chain(&sealers)
            .map(|sealer| {
                let seal = move || nonce_of(&sealer.seal(Clear::Text("x"), None).unwrap());
                scope.spawn(move || (0..EACH).map(|_| seal()).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(nonces.len(), 8 * EACH);
    assert_eq!(nonces.into_iter().collect::<HashSet<_>>().len(), 8 * EACH);
}

#[test]
fn each_data_key_draws_its_own_secret_and_nonces() {
    let keys = [(); 3].map(|()| SealingKey::generate(Limits::default()).unwrap());
    let ids: HashSet<_> = keys.iter().map(|key| key.data_key().id()).collect();
    let prefixes: HashSet<_> = keys.iter().map(|key| key.nonces.prefix).collect();
    assert_eq!((ids.len(), prefixes.len()), (3, 3));
}

#[test]
fn the_counter_ends_before_it_repeats() {
    let nonces = NonceSequence::new([9; 8], u64::MAX);
    assert_eq!(nonces.next().unwrap(), [9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0]);
    nonces.used.store(NonceSequence::MOST - 1, Relaxed);
    assert!(!nonces.is_used_up());
    assert_eq!(nonces.next().unwrap(), [9, 9, 9, 9, 9, 9, 9, 9, 255, 255, 255, 255]);
    assert!(nonces.is_used_up());
    assert_eq!(nonces.next(), Err(SealError::UsedUp));
    assert_eq!(nonces.next(), Err(SealError::UsedUp));
}

#[test]
fn a_data_key_seals_no_more_values_than_it_may() {
    let limits = Limits { values: 2, ..Limits::default() };
    let key = SealingKey::generate(limits).unwrap();
    let sealer = key.sealer(&context(), Padding::NONE).unwrap();
    let other = key.sealer(&Context::new("other").unwrap(), Padding::NONE).unwrap();
    assert!(sealer.seal(Clear::Text("a"), None).is_ok());
    assert!(!key.is_due(Instant::now()));
    assert!(other.seal(Clear::Text("a"), None).is_ok());
    assert!(key.is_due(Instant::now()));
    assert_eq!(sealer.seal(Clear::Text("a"), None), Err(SealError::UsedUp));
}

#[test]
fn a_data_key_is_due_at_the_end_of_its_lifetime_and_may_end_its_work() {
    let limits = Limits { lifetime: Duration::from_mins(5), ..Limits::default() };
    let key = SealingKey::generate(limits).unwrap();
    assert!(!key.is_due(key.drawn + Duration::from_secs(299)));
    assert!(key.is_due(key.drawn + Duration::from_mins(5)));
    let sealer = key.sealer(&context(), Padding::NONE).unwrap();
    assert!(sealer.seal(Clear::Text("a"), None).is_ok());
}

#[test]
fn what_is_not_to_be_sealed_uses_no_nonce() {
    let key = SealingKey::generate(Limits { values: 1, ..Limits::default() }).unwrap();
    let sealer = key.sealer(&context(), Padding::NONE).unwrap();
    let long = "x".repeat(MAX_VALUE_LEN + 1);
    assert_eq!(sealer.seal(Clear::Text(&long), None), Err(SealError::TooLong));
    assert_eq!(sealer.seal(Clear::Text(""), Some(&long)), Err(SealError::BoundTooLong));
    assert_eq!(sealer.seal(Clear::Number("1.2.3"), None), Err(SealError::NotANumber));
    assert!(sealer.seal(Clear::Number("1.2"), None).is_ok());
}

#[test]
fn the_longest_value_with_the_most_padding_is_as_long_as_documented() {
    let key = SealingKey::generate(Limits::default()).unwrap();
    let subject = SubjectSecret::generate().unwrap();
    let padding = Padding::to_multiple_of(crate::MAX_PADDING).unwrap();
    let sealer = key.erasable_sealer(&context(), padding, &subject).unwrap();
    let text = sealer.seal(Clear::Text(&"x".repeat(MAX_VALUE_LEN)), None).unwrap();
    assert!(text.len() <= MAX_TEXT_LEN);
    assert!(SealedValue::parse(&text).is_ok());
}

#[test]
fn values_of_one_padded_length_have_one_length() {
    let key = SealingKey::generate(Limits::default()).unwrap();
    let sealer = key.sealer(&context(), Padding::to_multiple_of(32).unwrap()).unwrap();
    let sealed_len = |value: &str| sealer.seal(Clear::Text(value), None).unwrap().len();
    let lengths: HashSet<_> = (0..=30).map(|length| sealed_len(&"x".repeat(length))).collect();
    assert_eq!(lengths, HashSet::from([107]));
    assert!(sealed_len(&"x".repeat(31)) > 107);
}

#[test]
fn debug_shows_neither_secrets_nor_values() {
    let key = SealingKey::generate(Limits::default()).unwrap();
    let sealer = key.sealer(&context(), Padding::NONE).unwrap();
    let secret = format!("{:?}", key.data_key().secret());
    for shown in [format!("{key:?}"), format!("{sealer:?}")] {
        assert!(!shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
    }
}
