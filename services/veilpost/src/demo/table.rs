//! Lays rows out for a terminal.

use veilpost_local::table;

use super::store::{COLUMNS, TextRow};

/// How many characters of each column are shown; a whole row fits 80.
const WIDTHS: [usize; COLUMNS.len()] = [8, 10, 8, 8, 6, 10, 10];

/// Columns under their names, long values cut.
pub(super) fn layout(rows: &[TextRow]) -> String {
    let header = COLUMNS.map(str::to_owned);
    table::of_words(std::iter::once(header).chain(rows.iter().map(shown)))
}

fn shown(row: &TextRow) -> [String; COLUMNS.len()] {
    std::array::from_fn(|column| {
        let width = WIDTHS.get(column).copied().unwrap_or_default();
        row.get(column)
            .and_then(Option::as_deref)
            .map_or_else(|| "NULL".to_owned(), |value| cut(value, width))
    })
}

fn cut(value: &str, width: usize) -> String {
    if value.chars().count() <= width {
        return value.to_owned();
    }
    value.chars().take(width).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_row_fits_a_terminal_of_eighty_columns() {
        let row: TextRow = std::array::from_fn(|_| Some("ж".repeat(128)));
        let null: TextRow = Default::default();
        let text = layout(&[row, null]);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains('…') && text.contains("NULL"));
    }
}
