//! What is wrong with a policy, and where in its text.

use std::ops::Range;

use veilpost_runtime::BadSettings;

/// One thing that is wrong, in words that say what would be right.
pub(super) struct PolicyProblem {
    /// Where in the text, in bytes.
    at: usize,
    what: String,
}

/// The text of a policy, and the name of the file that it is from.
#[derive(Clone, Copy)]
pub(super) struct PolicyText<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl PolicyProblem {
    pub(super) fn new(at: &Range<usize>, what: impl Into<String>) -> Self {
        Self { at: at.start, what: what.into() }
    }
}

impl PolicyText<'_> {
    /// The place at byte `at` as `name:line:column`; both count from 1, and the column counts characters.
    pub(super) fn place(self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
        format!("{}:{line}:{column}", self.name)
    }

    /// All problems in the order of their places, one a line. The text is read once, however many there are.
    pub(super) fn refuse(self, mut problems: Vec<PolicyProblem>) -> BadSettings {
        problems.sort_by_key(|problem| problem.at);
        let (mut at, mut line, mut column) = (0, 1, 1);
        let mut lines = Vec::with_capacity(problems.len());
        for problem in &problems {
            let passed = self.text.get(at..problem.at).unwrap_or_default();
            at = problem.at;
            line += passed.matches('\n').count();
            column = match passed.rsplit_once('\n') {
                Some((_, last)) => 1 + last.chars().count(),
                None => column + passed.chars().count(),
            };
            lines.push(format!("{}:{line}:{column}: {}", self.name, problem.what));
        }
        BadSettings(lines.join("\n"))
    }
}
