//! Reads what every column can have: `normalize`, `empty` and `default`.

use toml::Spanned;
use veilpost_proto::v1::value::Kind;

use super::entry::Item;
use super::given::{Given, Noted};
use super::nearest::unknown;
use crate::normalize::Step;
use crate::transform::{FieldTransform, KeylessTransform, MessageTransform, Transform, ValueRules};

/// The rules of a column. What would change nothing for its `transform` is refused; `None` stands for one
/// that could not be read.
pub(super) fn value_rules(given: &mut Given<'_>, transform: Option<&Transform>) -> Result<ValueRules, Noted> {
    let useful = transform.map_or(Ok(()), |transform| refuse_useless(given, transform));
    let (normalize, empty, default) = (normalize(given), empty(given), default(given));
    useful?;
    Ok(ValueRules { normalize: normalize?, empty_is_null: empty?, default: default? })
}

fn refuse_useless(given: &mut Given<'_>, transform: &Transform) -> Result<(), Noted> {
    let no_field = "has no effect, because the value is not from the body";
    let (of_text, of_absent) = match transform {
        Transform::Message(MessageTransform::TraceId) => (Some(no_field), None),
        Transform::Message(_) => (Some(no_field), Some("has no effect, because there is always a value")),
        Transform::Field { source, .. } if source.is_whole_record() => (
            Some("is for scalars, and the whole body is an object"),
            Some("has no effect, because there is always a body"),
        ),
        Transform::Field { how: FieldTransform::Keyless(KeylessTransform::CopyWithout(_)), .. } => {
            (Some("is for scalars, and `without` for objects and arrays"), None)
        }
        Transform::Field { .. } => (None, None),
    };
    let mut good = Ok(());
    for (key, why) in [("normalize", of_text), ("empty", of_text), ("default", of_absent)] {
        if let Some(why) = why.filter(|_| given.entry.get(key).is_some()) {
            good = Err(given.useless(key, why));
        }
    }
    good
}

fn normalize(given: &mut Given<'_>) -> Result<Vec<Step>, Noted> {
    let Some(names) = given.texts("normalize")? else { return Ok(Vec::new()) };
    let (mut steps, mut good) = (Vec::new(), Ok(()));
    for name in names {
        if let Some(step) = Step::ALL.into_iter().find(|step| step.name() == *name.get_ref()) {
            steps.push(step);
        } else {
            let what = unknown("normalisation", name.get_ref(), &Step::ALL.map(Step::name));
            good = Err(given.refuse(&name.span(), what));
        }
    }
    good.map(|()| steps)
}

fn empty(given: &mut Given<'_>) -> Result<bool, Noted> {
    match given.text("empty")? {
        None => Ok(false),
        Some(text) if *text.get_ref() == "null" => Ok(true),
        Some(text) => {
            Err(given.refuse(&text.span(), "`empty` can only be \"null\": an empty text becomes NULL"))
        }
    }
}

fn default(given: &mut Given<'_>) -> Result<Option<Kind>, Noted> {
    let Some(item) = given.entry.get("default") else { return Ok(None) };
    let kind = match item.get_ref() {
        Item::Text(text) if text.contains('\0') => {
            return Err(given.refuse(&item.span(), "Postgres cannot store U+0000"));
        }
        Item::Text(text) => Kind::Text(text.clone()),
        Item::Integer(integer) => Kind::Number(integer.to_string()),
        Item::Number => Kind::Number(number(given, item)?),
        Item::Boolean(boolean) => Kind::Boolean(*boolean),
        Item::List(_) | Item::Other => {
            let what = format!("`default` needs a text, number or boolean, not {}", item.get_ref().kind());
            return Err(given.refuse(&item.span(), what));
        }
    };
    Ok(Some(kind))
}

/// A number with the digits that the policy gives it.
fn number(given: &mut Given<'_>, item: &Spanned<Item>) -> Result<String, Noted> {
    let written = given.text.text.get(item.span()).unwrap_or_default();
    let number = written.replace('_', "").trim_start_matches('+').to_owned();
    if number.contains(['n', 'x', 'o', 'b']) {
        return Err(given.refuse(&item.span(), "`default` needs a decimal number that is finite"));
    }
    Ok(number)
}
