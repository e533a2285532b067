//! Warnings about a policy: guesses from a field's name whether it holds personal data.

use super::model::Policy;
use crate::body::Pointer;
use crate::transform::{FieldTransform, KeylessTransform, Transform};

/// Words that stand for something about a person or their devices.
const PERSONAL: &str = "address birth birthdate birthday city coordinates device deviceid dob email fingerprint \
    firstname fullname gender geo iban idfa imei ip ipaddress ipv lastname lat latitude lng location lon longitude \
    mac mail mobile msisdn name nickname passport password phone phonenumber postcode ssn street surname tel \
    telephone username zip";

/// Last words that make a name the sort of a thing, which is nobody's data: `device_type`, `/device/model`.
const KINDS: &str =
    "brand category class count enabled family kind manufacturer model os platform type vendor version";

/// Things whose name is not a person's: `app_name`, `/event/name`.
const NAMED_THINGS: &str = "app application browser campaign class event feature file model os page platform \
    product queue screen service";

/// What an operator should know about a policy that works.
pub(crate) fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut guessable = Vec::new();
    for column in &policy.columns {
        let Transform::Field { source, how: FieldTransform::Keyless(how) } = &column.transform else {
            continue;
        };
        match how {
            KeylessTransform::Copy if looks_personal(source) => warnings.push(format!(
                "column {} is a copy of {source}, which looks like personal data; sha512 or hmac-sha512 would mask it",
                column.name
            )),
            KeylessTransform::Sha512 => guessable.push(source.to_string()),
            KeylessTransform::Copy | KeylessTransform::MajorVersion => {}
        }
    }
    if !guessable.is_empty() {
        warnings.push(format!(
            "plain sha512 does not resist guessing: where few values are possible, {} need hmac-sha512 and a key",
            guessable.join(", ")
        ));
    }
    warnings
}

/// Whether the last two names of a pointer, read as one, look like a person's data; the whole body does.
fn looks_personal(source: &Pointer) -> bool {
    let names: Vec<_> = source.names().collect();
    let nearest = names.len().saturating_sub(2);
    let words: Vec<String> = names.iter().skip(nearest).flat_map(|name| words(name)).collect();
    if words.last().is_some_and(|last| is_one_of(last, KINDS)) {
        return false;
    }
    let personal = |(index, word): (usize, &String)| {
        let before = index.checked_sub(1).and_then(|index| words.get(index));
        let of_a_thing = word == "name" && before.is_some_and(|thing| is_one_of(thing, NAMED_THINGS));
        is_one_of(word, PERSONAL) && !of_a_thing
    };
    source.is_whole_body() || words.iter().enumerate().any(personal)
}

fn is_one_of(word: &str, list: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// The words of a name in snake, kebab, dotted or camel case, in lower case and without digits.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let chars: Vec<char> = name.chars().collect();
    for (index, &char) in chars.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| chars.get(index));
        let after_lower = before.is_some_and(|before| before.is_lowercase() || before.is_numeric());
        let ends_acronym = before.is_some_and(|before| before.is_uppercase())
            && chars.get(index + 1).is_some_and(|next| next.is_lowercase());
        if !char.is_alphabetic() || char.is_uppercase() && (after_lower || ends_acronym) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| char.is_alphabetic()) {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::{Pointer, Policy, looks_personal, warnings, words};

    fn personal(source: &str) -> bool {
        looks_personal(&Pointer::parse(source).unwrap())
    }

    #[test]
    fn names_fall_into_words() {
        assert_eq!(words("user_ip"), ["user", "ip"]);
        assert_eq!(words("deviceId"), ["device", "id"]);
        assert_eq!(words("userIPAddress"), ["user", "ip", "address"]);
        assert_eq!(words("E-Mail.2"), ["e", "mail"]);
        assert_eq!(words("phone1Number"), ["phone", "number"]);
        assert_eq!(words("ΔέλταΝέα"), ["δέλτα", "νέα"]);
    }

    #[test]
    fn what_looks_like_a_persons_data_is_noticed() {
        for source in [
            "/ip",
            "/clientIp",
            "/ipv4",
            "/user-email",
            "/e-mail",
            "/device_id",
            "/device/id",
            "/device",
            "/name",
            "/user/name",
            "/firstName",
            "/homeAddress",
            "/address/line1",
            "/dob",
            "/date_of_birth",
            "/lat",
            "/phone2",
            "/device_name",
            "",
            "/users/0/ssn",
        ] {
            assert!(personal(source), "{source}");
        }
    }

    #[test]
    fn sorts_of_things_and_their_names_are_nobodys_data() {
        for source in [
            "/device_type",
            "/device/type",
            "/deviceModel",
            "/app_name",
            "/app/name",
            "/eventName",
            "/user_id",
            "/locale",
            "/app_version",
            "/ship",
            "/zipper",
            "/description",
            "/ip_version",
            "/unnamed",
            "/latest",
        ] {
            assert!(!personal(source), "{source}");
        }
    }

    #[test]
    fn the_default_policy_is_warned_about_for_its_plain_digests_only() {
        let warnings = warnings(&Policy::load(None).unwrap());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("/ip, /device_id"), "{warnings:?}");
    }

    #[test]
    fn a_copied_ip_is_warned_about_by_column_and_source() {
        let policy = "table='t'\n[[column]]\nname='origin'\nsource='/client/ip'\ntransform='copy'\n";
        let warnings = warnings(&Policy::parse(policy, "p.toml").unwrap());
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("origin") && warnings[0].contains("/client/ip"), "{warnings:?}");
    }
}
