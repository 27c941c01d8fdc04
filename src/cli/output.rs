//! Tables and JSON on standard output, complaints on standard error. A reader that has gone away
//! (`| head`) is no error.

use std::fmt::Display;
use std::io::Write;

use crate::store::SEEN_WITHIN;

/// Prints a line.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints what was made. Not before a running gateway has seen it: the next command of a script may
/// count on it.
pub(super) fn made(text: &str) {
    std::thread::sleep(SEEN_WITHIN);
    line(text);
}

/// Prints JSON, indented.
pub(super) fn json(value: &serde_json::Value) {
    line(&format!("{value:#}"));
}

/// Prints columns as wide as they need to be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    for text in columns(head, rows) {
        line(&text);
    }
}

/// The lines of a table, the head first.
pub(super) fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let widths = widths(head, rows);
    let pad = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{:width$}", printable(cell)));
        let line = padded.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    let mut lines = vec![pad(&mut head.iter().copied())];
    lines.extend(
        rows.iter()
            .map(|row| pad(&mut row.iter().map(String::as_str))),
    );
    lines
}

/// What each column needs.
pub(super) fn widths(head: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = head.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// Names may hold what would steer a terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Says on standard error what is wrong.
pub(super) fn complain(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "blackhole: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_harmless() {
        let rows = [
            vec!["1".into(), "Zoë\u{1b}[2J".into()],
            vec!["22".into(), String::new()],
        ];
        assert_eq!(
            columns(&["A", "NAME"], &rows),
            ["A   NAME", "1   Zoë?[2J", "22"]
        );
    }
}
