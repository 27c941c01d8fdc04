//! `blackhole bindings`: the catalogue.

use clap::Args;
use serde_json::{Map, Value, json};

use super::output;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<()> {
    let sections = settings.catalogue.sections();
    if arguments.json {
        let mut all = Map::new();
        for section in &sections {
            let entry = |entry: &crate::catalogue::Entry<'_>| json!({"binding": entry.binding, "event": entry.event, "about": entry.about});
            all.insert(
                section.category.into(),
                section.entries.iter().map(entry).collect(),
            );
        }
        output::json(&Value::from(all));
        return Ok(());
    }
    for section in &sections {
        output::line(&format!("{}: {}", section.category, section.about));
        let width = section
            .entries
            .iter()
            .map(|entry| entry.template.len())
            .max()
            .unwrap_or_default();
        for entry in &section.entries {
            output::line(&format!("  {:width$}  {}", entry.template, entry.about));
        }
        output::line("");
    }
    output::line(
        "Words in braces are yours to fill in; * stands for all where the meaning allows it.",
    );
    Ok(())
}
