//! Warnings about a policy: guesses from a field's name whether it holds personal data.

use super::model::{ColumnRule, Policy};
use super::on_conflict::ConflictRule;
use crate::body::Source;
use crate::transform::{FieldTransform, KeylessTransform, Transform};

/// Words that stand for something about a person or their devices.
const PERSONAL: &str = "account address agent avatar bank bic birth birthdate birthday card cardnumber city contact \
    cookie coordinates credential cvc cvv device deviceid diagnosis dob email fingerprint firstname fullname gender \
    geo iban iccid idfa imei imsi insurance ip ipaddress ipv lastname lat latitude licence license lng location lon \
    longitude mac mail medical mobile msisdn name nationality nickname passport passwd password phone phonenumber \
    photo pin plate postcode salary secret session signature ssn street surname tax taxid tel telephone token useragent \
    username vat vin zip";

/// Last words that make a name the sort of a thing, which is nobody's data: `device_type`, `/device/model`.
const KINDS: &str =
    "brand category class count enabled family kind manufacturer model os platform type vendor version";

/// Things whose name is not a person's: `app_name`, `/event/name`.
const NAMED_THINGS: &str = "app application browser campaign class event feature file model os page platform \
    product queue screen service";

/// Words that stand for an e-mail address.
const EMAIL: &str = "email mail";

/// A text of this many characters may be shown whole, or nearly so, by what is kept of it.
const SHORT_TEXT: usize = 4;

/// What an operator should know about a policy that works.
pub(crate) fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings: Vec<String> = policy.columns.iter().filter_map(warning).collect();
    let guessable: Vec<_> = policy.columns.iter().filter_map(guessable).map(ToString::to_string).collect();
    if !guessable.is_empty() {
        warnings.push(format!(
            "plain sha512 does not resist guessing: where few values are possible, {} need hmac-sha512 and a key",
            guessable.join(", ")
        ));
    }
    warnings.extend(policy.on_conflict.as_ref().and_then(ConflictRule::warning));
    warnings
}

/// The source of a digest without a key.
fn guessable(column: &ColumnRule) -> Option<&Source> {
    match &column.transform {
        Transform::Field { source, how: FieldTransform::Keyless(KeylessTransform::Sha512) } => Some(source),
        _ => None,
    }
}

fn warning(column: &ColumnRule) -> Option<String> {
    let (name, transform) = (&column.name, column.transform_name);
    let Transform::Field { source, how } = &column.transform else { return None };
    match how {
        FieldTransform::HmacSha512(_) | FieldTransform::Keyless(KeylessTransform::Sha512) => {
            let of_email = column.rules.normalize.is_empty() && is_email(source);
            of_email.then(|| {
                format!(
                    "column {name} is a digest of {source} as it is written, so Ann@Example.org and ann@example.org get \
                     different ones; normalize = [\"trim\", \"lowercase\", \"email\"] would make them one"
                )
            })
        }
        FieldTransform::Keyless(how) if looks_personal(source) => {
            let what = shown(how)?;
            Some(format!(
                "column {name}, {transform}, {what} {source}, which looks like personal data; sha512 or hmac-sha512 \
                 would mask it"
            ))
        }
        FieldTransform::Keyless(_) => None,
    }
}

/// What a transform leaves to be seen of a value; `None` where that is no person's.
fn shown(how: &KeylessTransform) -> Option<String> {
    match how {
        KeylessTransform::Copy => Some("is a copy of".to_owned()),
        KeylessTransform::CopyWithout(_) => Some("is a copy of the rest of".to_owned()),
        KeylessTransform::Epoch(_)
        | KeylessTransform::Date(_)
        | KeylessTransform::Timestamp(_)
        | KeylessTransform::Boolean(_) => Some("shows the value of".to_owned()),
        KeylessTransform::Partial(partial) => {
            let kept = partial.keep_first.saturating_add(partial.keep_last);
            (kept > SHORT_TEXT).then(|| format!("shows {kept} characters, which can be most, of"))
        }
        KeylessTransform::IpPrefix(prefix) => {
            let wide = prefix.v4 > MAX_V4_PREFIX || prefix.v6 > MAX_V6_PREFIX;
            wide.then(|| format!("with v4 = {} and v6 = {} shows nearly all of", prefix.v4, prefix.v6))
        }
        KeylessTransform::Sha512
        | KeylessTransform::MajorVersion
        | KeylessTransform::Redact(_)
        | KeylessTransform::EmailDomain => None,
    }
}

/// In longer prefixes of IPv4 there are few addresses.
const MAX_V4_PREFIX: u8 = 24;

/// Longer prefixes of IPv6 are those of single households.
const MAX_V6_PREFIX: u8 = 48;

/// Whether the last name of a pointer is that of an e-mail address.
fn is_email(source: &Source) -> bool {
    source.names().last().is_some_and(|name| words(name).last().is_some_and(|word| is_one_of(word, EMAIL)))
}

/// Whether the last two names of a pointer, read as one, look like a person's data; the whole body does.
fn looks_personal(source: &Source) -> bool {
    let names = source.names();
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
    source.is_whole_record() || words.iter().enumerate().any(personal)
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
    use super::{Policy, Source, looks_personal, warnings, words};
    use crate::body::Pointer;

    fn personal(source: &str) -> bool {
        looks_personal(&Source::Record(Pointer::parse(source).unwrap()))
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

    #[test]
    fn what_shows_much_of_a_persons_data_is_warned_about_and_what_shows_little_is_not() {
        let of = |keys: &str| {
            let text = format!("table='t'\n[[column]]\nname='c'\n{keys}\n");
            warnings(&Policy::parse(&text, "p.toml").unwrap()).join("\n")
        };
        for (keys, warning) in [
            ("source='/phone'\ntransform='partial'\nkeep_last=5", "shows 5 characters"),
            ("source='/phone'\ntransform='partial'\nkeep_first=3\nkeep_last=2", "shows 5 characters"),
            ("source='/ip'\ntransform='ip-prefix'\nv4=32", "v4 = 32"),
            ("source='/ip'\ntransform='ip-prefix'\nv6=64", "v6 = 64"),
            ("source='/dob'\ntransform='date'\nformat='%F'", "shows the value of /dob"),
            ("source='/birthday'\ntransform='epoch-s'", "shows the value of /birthday"),
            ("source='/user/address'\ntransform='copy'\nwithout=['/street']", "a copy of the rest"),
            ("source='/ip'\ntransform='copy'\nnormalize=['ip']", "is a copy of /ip"),
            ("source='/email'\ntransform='hmac-sha512'\ndomain='d'\nkey='k'", "lowercase"),
            ("source='/user/eMail'\ntransform='sha512'", "lowercase"),
        ] {
            assert!(of(keys).contains(warning), "{keys}: {}", of(keys));
        }
        for keys in [
            "source='/phone'\ntransform='partial'\nkeep_last=4",
            "source='/order'\ntransform='partial'\nkeep_last=9",
            "source='/ip'\ntransform='ip-prefix'",
            "source='/ip'\ntransform='redact'",
            "source='/email'\ntransform='email-domain'",
            "source='/email'\ntransform='hmac-sha512'\ndomain='d'\nkey='k'\nnormalize=['trim','email']",
            "source='/created'\ntransform='epoch-ms'",
        ] {
            assert_eq!(of(keys), "", "{keys}");
        }
    }
}
