//! `blackhole config check | show`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::output;
use crate::auth::TrustedIssuer;
use crate::settings::{Layers, Settings, Shown};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the settings and the files that they name
    Check,
    /// Show the settings in force and where each came from; secrets are hidden
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command, layers: &Layers) -> anyhow::Result<()> {
    match command {
        Command::Check => {
            let settings = Settings::from_layers(layers)?;
            for issuer in &settings.issuers {
                TrustedIssuer::load(issuer, &settings.base)?;
            }
            if settings.tls.is_some() {
                crate::gateway::server_config(settings.tls.as_ref(), &settings.tls_dev_dir)?;
            }
            output::line("all settings are good");
        }
        Command::Show { json: true } => {
            let show = |shown: Shown| {
                (
                    shown.name.to_owned(),
                    json!({"value": shown.value, "origin": shown.origin.to_string()}),
                )
            };
            output::json(&layers.shown().into_iter().map(show).collect::<Value>());
        }
        Command::Show { json: false } => {
            let row = |shown: Shown| {
                let value = if shown.value.is_empty() {
                    "-".to_owned()
                } else {
                    shown.value
                };
                vec![shown.name.to_owned(), value, shown.origin.to_string()]
            };
            let rows: Vec<_> = layers.shown().into_iter().map(row).collect();
            output::table(&["SETTING", "VALUE", "FROM"], &rows);
        }
    }
    Ok(())
}
