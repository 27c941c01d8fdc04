//! Looking again and again: on a terminal in place, elsewhere one block after the other.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::Question;
use super::listing::Listing;
use crate::cli::output;
use crate::cli::terminal::{self, Size};
use crate::model::clock::{iso8601, unix_now};

/// To the upper left corner; clear all.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Until Ctrl-C, or until nobody reads any more. Only the first look must succeed: later the gateway
/// may be away for a while.
pub(super) fn run(question: &Question, every: Duration, json: bool) -> anyhow::Result<()> {
    let mut listing = question.ask()?;
    let mut trouble: Option<String> = None;
    loop {
        let text = if json {
            line(&listing, trouble.as_deref())
        } else {
            block(&listing, trouble.as_deref(), terminal::size())
        };
        if let Err(error) = write(&text) {
            // Whoever read has gone away, which ends a watch as Ctrl-C does.
            return match error.kind() {
                ErrorKind::BrokenPipe => Ok(()),
                _ => Err(error.into()),
            };
        }
        std::thread::sleep(every);
        match question.ask() {
            Ok(found) => (listing, trouble) = (found, None),
            Err(error) => trouble = Some(format!("{error:#}")),
        }
    }
}

fn gap(listing: &Listing) -> Option<String> {
    (!listing.missing.is_empty()).then(|| listing.gap())
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// For machines: the list on one line, troubles on standard error.
fn line(listing: &Listing, trouble: Option<&str>) -> String {
    if let Some(trouble) = trouble {
        output::complain(trouble);
        return String::new();
    }
    if let Some(gap) = gap(listing) {
        output::complain(gap);
    }
    format!("{}\n", listing.json())
}

/// A head line with the time and what is to be said, and the table; a blank line between blocks.
fn block(listing: &Listing, trouble: Option<&str>, screen: Option<Size>) -> String {
    let time = iso8601(unix_now());
    let mut lines = vec![match trouble {
        Some(trouble) => format!("{time}  {trouble}"),
        None => format!("{time}  {}", listing.counts()),
    }];
    let table = listing.lines(screen.map(|size| size.columns));
    match (trouble, screen) {
        (None, _) => {
            lines.extend(gap(listing));
            lines.extend(table);
        }
        // What was seen last is better than an empty screen.
        (Some(_), Some(_)) => {
            lines.push("as it was before:".into());
            lines.extend(table);
        }
        (Some(_), None) => {}
    }
    match screen {
        None => format!("{}\n\n", lines.join("\n")),
        Some(size) => format!("{CLEAR}{}\n", cut(&lines, size).join("\n")),
    }
}

/// What fits: a line that is wrapped, or one too many, would push the head away.
fn cut(lines: &[String], size: Size) -> Vec<String> {
    // The cursor needs a row, too.
    let room = size.rows.saturating_sub(1).max(2);
    let mut shown: Vec<String> = lines.to_vec();
    if lines.len() > room {
        shown.truncate(room - 1);
        shown.push(format!("... and {} more", lines.len() - shown.len()));
    }
    let narrow = |line: &String| line.chars().take(size.columns).collect();
    shown.iter().map(narrow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let lines: Vec<String> = (0..5).map(|number| format!("line {number}")).collect();
        let size = |columns, rows| Size { columns, rows };
        assert_eq!(cut(&lines, size(80, 6)), lines);
        assert_eq!(
            cut(&lines, size(80, 4)),
            ["line 0", "line 1", "... and 3 more"]
        );
        assert_eq!(cut(&lines, size(4, 6))[4], "line");
    }
}
