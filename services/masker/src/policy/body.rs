//! Checks `[body]` of a policy: what is around the records.

use toml::Spanned;
use veilpost_proto::MAX_ROWS;

use super::entry::BodyEntry;
use super::problem::PolicyProblem;
use crate::body::{BodyRule, Encoding, Envelope, Pointer, Step};

/// The most records that a policy may allow in one message.
pub(crate) const MOST_RECORDS: usize = MAX_ROWS;

/// The most records of a message when the policy does not say.
const DEFAULT_MAX_RECORDS: usize = 1000;

/// The most steps of `decode` and `unwrap` together.
const MOST_STEPS: usize = 8;

impl BodyEntry {
    /// Checks all keys; gives the rule, or everything that is wrong with it.
    pub(super) fn check(self) -> Result<BodyRule, Vec<PolicyProblem>> {
        let Self { decode, unwrap, records, max_records, allow_unwrapped } = self;
        let mut problems = Vec::new();
        let mut keep =
            |result: Result<_, PolicyProblem>| result.map_err(|problem| problems.push(problem)).ok();
        let mut steps: Vec<_> = decode.iter().filter_map(|given| keep(decode_step(given))).collect();
        if let Some(unwrap) = &unwrap {
            let texts = texts(unwrap);
            steps.extend(
                texts.into_iter().filter_map(|text| keep(text.and_then(|text| unwrap_step(unwrap, &text)))),
            );
            if steps.len() > MOST_STEPS {
                let what = format!("more than {MOST_STEPS} steps of `decode` and `unwrap`");
                problems.push(PolicyProblem::new(&unwrap.span(), what));
            }
        }
        let records = records.map(|given| (given.span(), Pointer::parse(given.get_ref())));
        let records = records.and_then(|(at, pointer)| {
            pointer.map_err(|what| problems.push(PolicyProblem::new(&at, what))).ok()
        });
        let max = max_records.map_or(Ok(DEFAULT_MAX_RECORDS), |given| max(&given, records.is_some()));
        let max_records = max.map_err(|problem| problems.push(problem)).unwrap_or_default();
        if let Some(given) = &allow_unwrapped
            && steps.is_empty()
        {
            let what = "`allow_unwrapped` without `decode` or `unwrap`: nothing is wrapped; remove it";
            problems.push(PolicyProblem::new(&given.span(), what));
        }
        let allow_unwrapped = allow_unwrapped.is_some_and(Spanned::into_inner);
        if problems.is_empty() {
            Ok(BodyRule { steps, records, max_records, allow_unwrapped })
        } else {
            Err(problems)
        }
    }
}

fn decode_step(given: &Spanned<String>) -> Result<Step, PolicyProblem> {
    encoding(given.get_ref()).ok_or_else(|| {
        let what = format!("unknown encoding {:?}; the known ones are {}", given.get_ref(), encodings());
        PolicyProblem::new(&given.span(), what)
    })
}

fn encoding(name: &str) -> Option<Step> {
    Encoding::ALL.into_iter().find(|encoding| encoding.name() == name).map(Step::Decode)
}

fn encodings() -> String {
    Encoding::ALL.map(Encoding::name).join(", ")
}

/// The texts of `unwrap`: one, or a list.
fn texts(given: &Spanned<toml::Value>) -> Vec<Result<String, PolicyProblem>> {
    let no_text = || {
        let what = "`unwrap` is a text or a list of texts: unwrap = \"sns\"";
        Err(PolicyProblem::new(&given.span(), what))
    };
    let text = |value: &toml::Value| value.as_str().map(str::to_owned).map_or_else(no_text, Ok);
    match given.get_ref() {
        toml::Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    }
}

/// `sns`, `eventbridge`, a pointer, or an encoding of what the step before has found.
fn unwrap_step(given: &Spanned<toml::Value>, text: &str) -> Result<Step, PolicyProblem> {
    let envelope = match text {
        "sns" => Envelope::Sns,
        "eventbridge" => Envelope::EventBridge,
        _ => {
            if let Some(step) = encoding(text) {
                return Ok(step);
            }
            let pointer = Pointer::parse(text).map_err(|_| {
                let what = format!(
                    "{text:?} is no envelope; the known ones are sns, eventbridge, a JSON Pointer such as \
                     \"/payload\" to a text that is JSON again, and then {}",
                    encodings()
                );
                PolicyProblem::new(&given.span(), what)
            })?;
            Envelope::At(pointer)
        }
    };
    Ok(Step::Unwrap(envelope))
}

fn max(given: &Spanned<i64>, has_records: bool) -> Result<usize, PolicyProblem> {
    if !has_records {
        let what = "`max_records` without `records`: a message is one record; remove it";
        return Err(PolicyProblem::new(&given.span(), what));
    }
    let max = usize::try_from(*given.get_ref()).ok().filter(|max| (1..=MOST_RECORDS).contains(max));
    max.ok_or_else(|| {
        let what = format!("`max_records` = {}: it is from 1 to {MOST_RECORDS}", given.get_ref());
        PolicyProblem::new(&given.span(), what)
    })
}
