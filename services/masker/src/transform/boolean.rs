//! `boolean`: texts and numbers that stand for true or false.

use veilpost_proto::v1::value::Kind;

use crate::body::FieldValue;
use crate::fault::Fault;

/// Texts that stand for true unless the policy says otherwise.
pub(crate) const TRUE: &[&str] = &["true", "t", "yes", "y", "on", "1"];

/// Texts that stand for false unless the policy says otherwise.
pub(crate) const FALSE: &[&str] = &["false", "f", "no", "n", "off", "0"];

/// The texts that stand for true and false, in lower case. No text is in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BooleanTexts {
    pub(crate) truths: Vec<String>,
    pub(crate) falsehoods: Vec<String>,
}

impl BooleanTexts {
    /// A JSON boolean as it is; a text, or a number as the producer wrote it, if the policy knows it.
    pub(super) fn of(&self, field: FieldValue<'_>) -> Result<Kind, Fault> {
        if let FieldValue::Boolean(boolean) = field {
            return Ok(Kind::Boolean(boolean));
        }
        let text = field.scalar()?.to_lowercase();
        match (self.truths.contains(&text), self.falsehoods.contains(&text)) {
            (true, _) => Ok(Kind::Boolean(true)),
            (_, true) => Ok(Kind::Boolean(false)),
            _ => Err(Fault::invalid("neither true nor false to this policy")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &BooleanTexts, text: &str) -> Option<bool> {
        match texts.of(FieldValue::Text(text.into())) {
            Ok(Kind::Boolean(boolean)) => Some(boolean),
            _ => None,
        }
    }

    fn texts(truths: &[&str], falsehoods: &[&str]) -> BooleanTexts {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        BooleanTexts { truths: owned(truths), falsehoods: owned(falsehoods) }
    }

    #[test]
    fn texts_are_compared_without_case_and_nothing_else_is_a_boolean() {
        let default = texts(TRUE, FALSE);
        for (yes, no) in [("true", "false"), ("T", "F"), ("YES", "No"), ("y", "n"), ("On", "oFF"), ("1", "0")]
        {
            assert_eq!((of(&default, yes), of(&default, no)), (Some(true), Some(false)));
        }
        for neither in ["", " true", "2", "1.0", "ja", "null"] {
            assert_eq!(of(&default, neither), None, "{neither:?}");
        }
        assert_eq!(of(&texts(&["ja", "größe"], &["nein"]), "GRÖSSE"), None, "case only");
        assert_eq!(of(&texts(&["ja", "größe"], &["nein"]), "GRÖßE"), Some(true));
    }

    #[test]
    fn booleans_of_json_pass_and_numbers_are_their_text() {
        let odd = texts(&["2"], &["3"]);
        assert_eq!(odd.of(FieldValue::Boolean(true)), Ok(Kind::Boolean(true)));
        assert_eq!(odd.of(FieldValue::Number("3")), Ok(Kind::Boolean(false)));
        assert_eq!(
            odd.of(FieldValue::Json("[]")).unwrap_err().rule,
            "an object or array where a scalar is needed"
        );
    }
}
