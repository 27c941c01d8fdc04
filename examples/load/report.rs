//! Results, as tables and as JSON.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// One scenario's table.
#[derive(Debug)]
pub(crate) struct Section {
    scenario: &'static str,
    about: &'static str,
    /// What the columns mean, where their titles do not say it.
    notes: Vec<String>,
    rows: Vec<Row>,
}

/// One measurement: names for programs, titles and texts for people.
#[derive(Debug, Default)]
pub(crate) struct Row(Vec<Cell>);

#[derive(Debug)]
struct Cell {
    name: &'static str,
    title: &'static str,
    value: Value,
    text: String,
}

impl Row {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn cell(mut self, name: &'static str, title: &'static str, value: Value, text: String) -> Self {
        let cell = Cell {
            name,
            title,
            value,
            text,
        };
        self.0.push(cell);
        self
    }

    pub(crate) fn text(self, name: &'static str, title: &'static str, text: &str) -> Self {
        self.cell(name, title, json!(text), text.to_owned())
    }

    pub(crate) fn count(self, name: &'static str, title: &'static str, count: u64) -> Self {
        self.cell(name, title, json!(count), count.to_string())
    }

    /// A number with so many decimals; `None` where it could not be measured.
    pub(crate) fn number(
        self,
        name: &'static str,
        title: &'static str,
        decimals: usize,
        number: impl Into<Option<f64>>,
    ) -> Self {
        let number = number.into();
        let text = number.map_or_else(|| "-".into(), |number| format!("{number:.decimals$}"));
        self.cell(name, title, json!(number), text)
    }

    fn json(&self) -> Value {
        let members = self
            .0
            .iter()
            .map(|cell| (cell.name.to_owned(), cell.value.clone()));
        Value::Object(Map::from_iter(members))
    }
}

impl Section {
    pub(crate) fn new(scenario: &'static str, about: &'static str, notes: &[&str]) -> Self {
        Self {
            scenario,
            about,
            notes: notes.iter().map(|&note| note.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Right-aligned columns, as wide as they need to be. Notes only if they were not told before.
    pub(crate) fn print(&self, told: &mut HashSet<String>) {
        println!("\n{}: {}", self.scenario, self.about);
        let head = self.rows.first().map(|row| {
            let titles = row.0.iter().map(|cell| cell.title);
            titles.collect::<Vec<_>>()
        });
        let rows = self.rows.iter();
        let rows = rows.map(|row| row.0.iter().map(|cell| cell.text.as_str()).collect());
        let lines: Vec<Vec<&str>> = head.into_iter().chain(rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.len()).max().unwrap_or(0)
        };
        for line in &lines {
            let cells = line.iter().enumerate();
            let cells = cells.map(|(column, cell)| format!("{cell:>0$}", width(column)));
            println!("  {}", cells.collect::<Vec<_>>().join("  "));
        }
        for note in &self.notes {
            if told.insert(note.clone()) {
                println!("  {note}");
            }
        }
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({"scenario": self.scenario, "about": self.about, "rows": rows})
    }
}
