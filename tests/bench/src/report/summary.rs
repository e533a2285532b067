//! The few figures that the README shows.

use anyhow::Context;

use super::number::with_unit;
use crate::figures::Figures;

/// A list for a document.
pub(crate) fn list(figures: &Figures) -> anyhow::Result<String> {
    let shown = |name: &str| {
        figures.get(name).map(with_unit).with_context(|| format!("the summary needs the figure {name}"))
    };
    Ok(format!(
        "On two cores that the queue, Postgres and the sender share with the services:\n\n\
         - {} from queue to committed rows: {} of what a bare receive-and-delete loop reaches on the same queue, and {} times what\n  \
         handling one message at a time reaches;\n\
         - {} above the queue's own wake-up when idle (p99), and {} from sent to committed at half the rate (p99);\n\
         - {}, {} and {} of memory at peak for reader, masker and writer with a long queue.\n",
        shown("end-to-end.rate")?,
        shown("end-to-end.ratio")?,
        shown("today.ratio")?,
        shown("idle.above-p99")?,
        shown("half-load.latency-p99")?,
        shown("memory.reader")?,
        shown("memory.masker")?,
        shown("memory.writer")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_figure_is_named() {
        assert!(list(&Figures::default()).unwrap_err().to_string().contains("end-to-end.rate"));
    }
}
