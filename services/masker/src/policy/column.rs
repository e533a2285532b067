//! Checks one `[[column]]` of a policy: its name, and the options of its transform.

use std::ops::Range;

use toml::Spanned;

use super::entry::{ColumnEntry, GivenOption};
use super::model::ColumnRule;
use super::problem::{PolicyProblem, PolicyText};
use super::transforms::{GivenTransform, TRANSFORMS, TransformSyntax, known_transforms, useless};

/// Postgres cuts off what is longer in an identifier.
const MAX_NAME_BYTES: usize = 63;

impl ColumnEntry {
    /// Checks an entry; gives the column and where its name is.
    pub(super) fn check(
        entry: Spanned<Self>,
        text: PolicyText<'_>,
    ) -> Result<(Range<usize>, ColumnRule), PolicyProblem> {
        let at = entry.span();
        let entry = entry.into_inner();
        let Some(name) = &entry.name else {
            let what = "this [[column]] has no `name`; write the name of a column of the table";
            return Err(PolicyProblem::new(&at, what));
        };
        let at = name.span();
        let name = name.get_ref();
        if !is_identifier(name) {
            let what = format!("{name:?} is not a column name; a name has 1 to {MAX_NAME_BYTES} bytes");
            return Err(PolicyProblem::new(&at, what));
        }
        let rule = entry.rule(name.clone(), &at, text)?;
        Ok((at, rule))
    }

    fn rule(
        &self,
        name: String,
        at: &Range<usize>,
        text: PolicyText<'_>,
    ) -> Result<ColumnRule, PolicyProblem> {
        let Some(given) = &self.transform else {
            let what = format!("this column has no `transform`; the known ones are {}", known_transforms());
            return Err(PolicyProblem::new(at, what));
        };
        let at = given.span();
        let Some(syntax) = TRANSFORMS.iter().find(|syntax| syntax.name == given.get_ref()) else {
            let what =
                format!("unknown transform {:?}; the known ones are {}", given.get_ref(), known_transforms());
            return Err(PolicyProblem::new(&at, what));
        };
        let options = self.options_of(syntax)?;
        let transform = (syntax.read)(&GivenTransform { entry: self, text, name: syntax.name, at })?;
        Ok(ColumnRule { name, transform, transform_name: syntax.name, options })
    }

    /// The options that are given; each must be one of the transform's.
    fn options_of(&self, transform: &TransformSyntax) -> Result<Vec<(&'static str, String)>, PolicyProblem> {
        let mut options = Vec::new();
        for (option, given) in self.options() {
            let Some(GivenOption { at, value }) = given else { continue };
            if !transform.options.contains(&option) {
                let takers = TRANSFORMS.iter().filter(|syntax| syntax.options.contains(&option));
                let takers: Vec<_> = takers.map(|syntax| format!("{:?}", syntax.name)).collect();
                let why = format!("belongs to transform = {}", takers.join(" or "));
                return Err(useless(option, &at, transform.name, &why));
            }
            options.push((option, value));
        }
        Ok(options)
    }
}

/// Whether Postgres takes `name` as it is.
pub(super) fn is_identifier(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains('\0')
}
