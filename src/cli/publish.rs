//! `blackhole publish`: one event through the running gateway's event source.

use std::io::Read;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use super::{http, output, token};
use crate::settings::Settings;
use crate::store::Store;

#[derive(Debug, Args)]
#[command(after_help = "Example, a call that begins:\n  \
    echo '{\"Event-Name\":\"CHANNEL_CREATE\",\"Call-ID\":\"1\",\"Custom-Channel-Vars\":{\"Account-ID\":\"ID\"}}' |\n  \
    blackhole publish --exchange callevt --routing-key call.CHANNEL_CREATE.1")]
pub(super) struct Arguments {
    /// Exchange, such as callevt, conference, faxes, configuration, presence
    #[arg(long)]
    exchange: String,
    /// Routing key, such as call.CHANNEL_CREATE.CALL-ID
    #[arg(long)]
    routing_key: String,
    /// The event's body, a JSON object; - is standard input
    #[arg(value_name = "FILE|-", default_value = "-")]
    file: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<()> {
    let mut text = String::new();
    if arguments.file == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input")?;
    } else {
        text = std::fs::read_to_string(&arguments.file)
            .with_context(|| format!("file {}", arguments.file))?;
    }
    let payload: Value = serde_json::from_str(&text).context("the event is not JSON")?;
    if !payload.is_object() {
        bail!("the event is not a JSON object");
    }
    let address = settings
        .api_address()
        .context("api.port is off: there is no way to reach the gateway")?;
    let store = Store::open(&settings.data_dir)?;
    let token = token::of_master(&store)?;
    // The event goes out as it is: order of keys and digits of numbers included.
    let body = format!(
        "{{\"data\":{{\"exchange\":{},\"routing_key\":{},\"payload\":{text}}}}}",
        Value::from(arguments.exchange.as_str()),
        Value::from(arguments.routing_key.as_str()),
    );
    let (status, answer) = http::call(&address, "PUT", "/v2/events", &token, body)?;
    if status != 201 {
        bail!("the gateway answered {status}: {}", http::reason(&answer));
    }
    let routed = answer["data"]["routed"] == true;
    if arguments.json {
        output::json(&answer["data"]);
    } else if routed {
        output::line("published");
    } else {
        output::line("published; nobody has subscribed to it");
    }
    Ok(())
}
