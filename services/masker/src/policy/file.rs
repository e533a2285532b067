//! Reads a policy's TOML and says exactly where and why it is refused.

use std::path::Path;

use anyhow::Context;
use veilpost_runtime::BadSettings;

use super::entry::PolicyFile;
use super::model::Policy;
use super::problem::{PolicyProblem, PolicyText};
use super::validate::validate;

/// The policy that Veilpost comes with.
const BUILT_IN: &str = include_str!("../../../../deploy/policies/user_logins.toml");

impl Policy {
    /// Reads the policy in `file`, or the built-in one for the table `user_logins`.
    ///
    /// # Errors
    /// When the file cannot be read, and for whatever [`Policy::parse`] refuses.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Self::parse(BUILT_IN, "user_logins.toml (built in)")?) };
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .with_context(|| BadSettings(format!("cannot read --policy {name}")))?;
        Ok(Self::parse(&text, &name)?)
    }

    /// Reads a policy from its TOML text.
    ///
    /// # Errors
    /// When the text is not TOML or not a policy. The error has one line for each problem, which begins with
    /// `name:line:column`; `name` stands for the file.
    pub fn parse(text: &str, name: &str) -> Result<Self, BadSettings> {
        let text = PolicyText { name, text };
        let checked = parse(text.text).and_then(|file| validate(file, text));
        checked.map_err(|problems| text.refuse(problems))
    }
}

fn parse(text: &str) -> Result<PolicyFile, Vec<PolicyProblem>> {
    toml::from_str(text).map_err(|error| {
        // There is only one list in a policy.
        let what = error
            .message()
            .replace("expected a sequence", "expected a list: write [[column]] for each column");
        vec![PolicyProblem::new(&error.span().unwrap_or_default(), what)]
    })
}
