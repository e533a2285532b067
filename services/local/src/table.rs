//! Tables for a terminal: no lines, each column as wide as its widest cell.

use comfy_table::{CellAlignment, Row, Table, presets};

/// Columns of words, one space apart. The first row names them.
pub fn of_words<Cells: Into<Row>>(rows: impl IntoIterator<Item = Cells>) -> String {
    let mut table = plain(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table.trim_fmt() + "\n"
}

/// A column of words, then columns of numbers, which are aligned right; all indented and two spaces apart.
pub fn of_numbers<Cells: Into<Row>>(rows: impl IntoIterator<Item = Cells>) -> String {
    let mut table = plain(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2, 0));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

fn plain<Cells: Into<Row>>(rows: impl IntoIterator<Item = Cells>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows = [["what", "µs"], ["reader", "1.0"], ["all", "10.5"]];
        assert_eq!(of_words(rows), "what   µs\nreader 1.0\nall    10.5\n");
        assert_eq!(of_numbers(rows), "  what      µs\n  reader   1.0\n  all     10.5\n");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(of_words([["名", "x"], ["abc", "y"]]), "名  x\nabc y\n");
    }
}
