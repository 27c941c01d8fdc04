//! The terminal that standard output may be.

use std::fs::File;
use std::io::{IsTerminal, stdout};
use std::process::{Command, Stdio};

/// Where nothing tells better.
const USUAL: Size = Size {
    columns: 100,
    rows: 50,
};

/// How much a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The size of the terminal; `None`: standard output is none.
pub(super) fn size() -> Option<Size> {
    if !stdout().is_terminal() {
        return None;
    }
    let found = stty().unwrap_or(USUAL);
    let variable = |name| {
        let value = std::env::var(name).ok()?;
        value.parse().ok().filter(|size| *size > 0)
    };
    Some(Size {
        columns: variable("COLUMNS").unwrap_or(found.columns),
        rows: variable("LINES").unwrap_or(found.rows),
    })
}

/// Shells seldom export the size, and asking the system for it takes unsafe code; `stty` is
/// everywhere.
fn stty() -> Option<Size> {
    let asked = Command::new("stty")
        .arg("size")
        .stdin(File::open("/dev/tty").ok()?)
        .stderr(Stdio::null())
        .output();
    read(&String::from_utf8(asked.ok()?.stdout).ok()?)
}

fn read(text: &str) -> Option<Size> {
    let (rows, columns) = text.trim().split_once(' ')?;
    let size = Size {
        columns: columns.parse().ok()?,
        rows: rows.parse().ok()?,
    };
    // A terminal that does not know says 0 0.
    (size.columns > 0 && size.rows > 0).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stty_says() {
        let size = Size {
            columns: 132,
            rows: 43,
        };
        assert_eq!(read("43 132\n"), Some(size));
        for text in ["0 0\n", "", "stty: no\n"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
