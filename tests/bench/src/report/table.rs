//! Tables, for a terminal and for documents.

use std::fmt::Write;

/// A heading and rows of cells; the first row names the columns.
pub(crate) type Rows = Vec<Vec<String>>;

/// A heading and its table; empty without rows.
pub(crate) fn for_terminal(title: &str, rows: &Rows) -> String {
    if rows.len() < 2 {
        return String::new();
    }
    format!("\n{title}\n{}", veilpost_local::table::of_numbers(rows))
}

/// A Markdown table; empty without rows.
pub(crate) fn for_document(rows: &Rows) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        writeln!(text, "| {} |", row.join(" | ")).ok();
        if index == 0 {
            let rule = row.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "--:" });
            writeln!(text, "|{}|", rule.collect::<Vec<_>>().join("|")).ok();
        }
    }
    text
}

/// A row of cells.
pub(crate) fn row<const CELLS: usize>(cells: [&str; CELLS]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows = vec![row(["what", "µs"]), row(["reader", "1.0"]), row(["all", "10.5"])];
        assert_eq!(for_terminal("CPU", &rows), "\nCPU\n  what      µs\n  reader   1.0\n  all     10.5\n");
        assert_eq!(for_document(&rows), "| what | µs |\n|---|--:|\n| reader | 1.0 |\n| all | 10.5 |\n");
        assert_eq!(for_terminal("CPU", &rows[..1].to_vec()), "");
    }
}
