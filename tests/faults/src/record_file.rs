//! Files of rounds, one JSON line each, so that what several runs found can be added up.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::summary::Summary;

/// Appends one round. Several runs may write to one file: each line is one write.
pub(crate) fn append(path: &Path, round: &Summary) -> anyhow::Result<()> {
    let line = serde_json::to_string(round)? + "\n";
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .with_context(|| format!("cannot record in {}", path.display()))
}

/// Adds the rounds of a file to `sum`.
pub(crate) fn add_to(sum: &mut Summary, path: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (number, line) in (1..).zip(text.lines()) {
        let round = serde_json::from_str(line);
        sum.merge(round.with_context(|| format!("{}: line {number} is no round", path.display()))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::MessageVerdict;
    use crate::summary::tests::round;

    #[test]
    fn rounds_of_several_files_add_up_to_what_one_run_would_have_found() {
        let directory = tempfile::tempdir().unwrap();
        let rounds = [(4, MessageVerdict::Lost), (2, MessageVerdict::Right), (1, MessageVerdict::Twice)]
            .map(|(hits, verdict)| Summary::of(&round(Some(hits), [verdict, MessageVerdict::WrongDigest])));
        let paths = ["one", "other"].map(|name| directory.path().join(name));
        for (round, path) in rounds.iter().zip([&paths[0], &paths[1], &paths[0]]) {
            append(path, round).unwrap();
        }
        let mut found = Summary::default();
        for path in &paths {
            add_to(&mut found, path).unwrap();
        }
        let [first, second, third] = rounds;
        let mut expected = Summary::default();
        for round in [first, third, second] {
            expected.merge(round);
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_that_was_cut_off_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rounds");
        append(&path, &Summary::default()).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.clone() + whole.trim_end_matches("}\n")).unwrap();
        let error = add_to(&mut Summary::default(), &path).unwrap_err();
        assert!(error.to_string().ends_with("rounds: line 2 is no round"), "{error:#}");
    }
}
