//! "did you mean": the known name that is most like a wrong one.

/// The least likeness (Jaro-Winkler, 0 to 1) at which a name is suggested.
const LIKE: f64 = 0.75;

/// ` (did you mean "…"?)` for the known name that is most like `given`; nothing where none is.
pub(crate) fn suggestion<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let lower = given.to_lowercase();
    let like = known.into_iter().map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name));
    match like.filter(|(like, _)| *like >= LIKE).max_by(|(one, _), (other, _)| one.total_cmp(other)) {
        Some((_, name)) => format!(" (did you mean {name:?}?)"),
        None => String::new(),
    }
}

/// `unknown WHAT "…"`, with the nearest name and all that are known.
pub(super) fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let suggestion = suggestion(given, known.iter().copied());
    format!("unknown {what} {given:?}{suggestion}; the known ones are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn near_misses_are_recognised_and_others_are_not() {
        let known = ["copy", "sha512", "hmac-sha512", "keep_first", "keep_last", "epoch-ms"];
        for (given, name) in [
            ("sha-512", "sha512"),
            ("SHA512", "sha512"),
            ("hmac_sha512", "hmac-sha512"),
            ("coyp", "copy"),
            ("keep-last", "keep_last"),
            ("epoch_ms", "epoch-ms"),
        ] {
            assert_eq!(suggestion(given, known), format!(" (did you mean {name:?}?)"), "{given}");
        }
        for given in ["rot13", "", "bcrypt", "ümläut"] {
            assert_eq!(suggestion(given, known), "", "{given}");
        }
    }
}
