//! Reads the options of each transform that has any.

use jiff::tz::TimeZone;

use super::given::{Given, Noted};
use super::nearest::suggestion;
use crate::transform::FieldTransform::Keyless;
use crate::transform::{
    BooleanTexts, DateFormat, FALSE, FieldTransform, HmacSha512, IpPrefix, KeyName, KeylessTransform,
    Partial, TRUE, TimestampFormat, Without, is_key_id,
};

/// The most characters that `partial` keeps at one end.
const MAX_KEPT: i64 = 1000;

pub(super) fn copy(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let Some(pointers) = given.texts("without")? else { return Ok(Keyless(KeylessTransform::Copy)) };
    let (mut without, mut good) = (Without::default(), Ok(()));
    for text in pointers {
        let added = given.pointer(&text).and_then(|pointer| {
            if pointer.is_whole_body() {
                return Err(
                    given.refuse(&text.span(), "\"\" would leave nothing; name a value inside of `source`")
                );
            }
            let value = text.get_ref();
            without
                .add(&pointer)
                .map_err(|why| given.refuse(&text.span(), format!("{value:?} {why}; remove one")))
        });
        good = good.and(added);
    }
    good?;
    Ok(Keyless(KeylessTransform::CopyWithout(without)))
}

pub(super) fn hmac_sha512(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let (domain, key) = (domain(given), key(given));
    Ok(FieldTransform::HmacSha512(HmacSha512 { domain: domain?, key: key? }))
}

fn domain(given: &mut Given<'_>) -> Result<String, Noted> {
    let Some(domain) = given.text("domain")? else {
        return Err(given.needs(
            "a `domain`, a name for the kind of value, such as \"ip\": \
             equal values of one domain get equal digests",
        ));
    };
    if domain.get_ref().is_empty() || domain.get_ref().contains('\0') {
        return Err(given.refuse(&domain.span(), "a domain is not empty and has no U+0000"));
    }
    Ok((*domain.get_ref()).to_owned())
}

fn key(given: &mut Given<'_>) -> Result<KeyName, Noted> {
    let Some(key) = given.text("key")? else {
        return Err(given.needs("a `key`, the id of the key to use, such as \"k1\""));
    };
    if !is_key_id(key.get_ref()) {
        let what = format!("{:?} is not a key id; an id has 1 to 32 of A-Z a-z 0-9 _ -", key.get_ref());
        return Err(given.refuse(&key.span(), what));
    }
    Ok(KeyName { id: (*key.get_ref()).to_owned(), place: given.text.place(key.span().start) })
}

pub(super) fn ip_prefix(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let (v4, v6) = (given.integer("v4", 0..=32), given.integer("v6", 0..=128));
    Ok(Keyless(KeylessTransform::IpPrefix(IpPrefix { v4: v4?.unwrap_or(24), v6: v6?.unwrap_or(48) })))
}

pub(super) fn partial(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let (first, last) = (given.integer("keep_first", 1..=MAX_KEPT), given.integer("keep_last", 1..=MAX_KEPT));
    let mask = mask(given);
    let (first, last) = (first?, last?);
    if first.is_none() && last.is_none() {
        return Err(given.needs("a `keep_first` or a `keep_last`, the number of characters to show"));
    }
    let partial =
        Partial { keep_first: first.unwrap_or_default(), keep_last: last.unwrap_or_default(), mask: mask? };
    Ok(Keyless(KeylessTransform::Partial(partial)))
}

fn mask(given: &mut Given<'_>) -> Result<char, Noted> {
    let Some(mask) = given.text("mask")? else { return Ok('*') };
    let mut characters = mask.get_ref().chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) if character != '\0' => Ok(character),
        _ => Err(given.refuse(&mask.span(), "`mask` is one character, such as \"*\"")),
    }
}

pub(super) fn redact(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let value = match given.text("value")? {
        Some(value) if value.get_ref().contains('\0') => {
            return Err(given.refuse(&value.span(), "Postgres cannot store U+0000"));
        }
        Some(value) => (*value.get_ref()).to_owned(),
        None => "[redacted]".to_owned(),
    };
    Ok(Keyless(KeylessTransform::Redact(value)))
}

const FORMAT: &str = "a `format` in the syntax of strptime, such as format = \"%d.%m.%Y\"";

pub(super) fn date(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let Some(format) = given.text("format")? else { return Err(given.needs(FORMAT)) };
    let read = DateFormat::new(format.get_ref());
    let read =
        read.map_err(|why| given.refuse(&format.span(), format!("the format {:?} {why}", format.get_ref())))?;
    Ok(Keyless(KeylessTransform::Date(read)))
}

pub(super) fn timestamp(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let zone = timezone(given);
    let Some(format) = given.text("format")? else { return Err(given.needs(FORMAT)) };
    let read = TimestampFormat::new(format.get_ref(), zone.as_ref().ok().cloned().flatten());
    let read =
        read.map_err(|why| given.refuse(&format.span(), format!("the format {:?} {why}", format.get_ref())))?;
    zone?;
    Ok(Keyless(KeylessTransform::Timestamp(read)))
}

/// The time zone of a day.
pub(super) fn day_zone(given: &mut Given<'_>) -> Result<TimeZone, Noted> {
    Ok(timezone(given)?.unwrap_or(TimeZone::UTC))
}

fn timezone(given: &mut Given<'_>) -> Result<Option<TimeZone>, Noted> {
    let Some(name) = given.text("timezone")? else { return Ok(None) };
    match TimeZone::get(name.get_ref()) {
        Ok(zone) if !zone.is_unknown() => Ok(Some(zone)),
        _ => {
            let known: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let nearest = suggestion(name.get_ref(), known.iter().map(String::as_str));
            let what = format!(
                "unknown time zone {:?}{nearest}; write a name of the IANA database, such as \"Europe/Berlin\"",
                name.get_ref()
            );
            Err(given.refuse(&name.span(), what))
        }
    }
}

pub(super) fn boolean(given: &mut Given<'_>) -> Result<FieldTransform, Noted> {
    let (truths, falsehoods) = (boolean_texts(given, "true", TRUE), boolean_texts(given, "false", FALSE));
    let texts = BooleanTexts { truths: truths?, falsehoods: falsehoods? };
    if let Some(both) = texts.truths.iter().find(|text| texts.falsehoods.contains(text)) {
        let what = format!("{both:?} is both true and false; give both lists, `true` and `false`");
        return Err(given.refuse(&given.at.clone(), what));
    }
    Ok(Keyless(KeylessTransform::Boolean(texts)))
}

fn boolean_texts(given: &mut Given<'_>, key: &str, default: &[&str]) -> Result<Vec<String>, Noted> {
    let Some(texts) = given.texts(key)? else {
        return Ok(default.iter().map(|text| (*text).to_owned()).collect());
    };
    Ok(texts.iter().map(|text| text.get_ref().to_lowercase()).collect())
}
