//! The command line: a file per command.

mod account;
mod bindings;
mod config;
mod http;
mod output;
mod publish;
mod serve;
mod sockets;
mod terminal;
mod token;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Layers, Settings};

/// Real-time event gateway for Kazoo: telephone events to WebSockets.
#[derive(Debug, Parser)]
#[command(
    name = "blackhole",
    version,
    after_help = "Without a command, the gateway runs. Every setting can be given in a file (--config), \
                  in the environment (BLACKHOLE_WS_PORT for ws.port) or as a flag; later wins. \
                  `blackhole config show` lists all settings."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Serve,
    /// Accounts: a tree under the master account
    #[command(subcommand)]
    Account(account::Command),
    /// Users, who log in over REST
    #[command(subcommand)]
    User(user::Command),
    /// Print a signed token and nothing else, for wscat and scripts
    Token(token::Arguments),
    /// Show every binding that a client can ask for, with what it means
    Bindings(bindings::Arguments),
    /// Publish one event through the running gateway
    Publish(publish::Arguments),
    /// Show the open sockets of all nodes, once or again and again
    Sockets(sockets::Arguments),
    /// Check or show the settings
    #[command(subcommand)]
    Config(config::Command),
}

/// Flags that every command takes.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// Settings file (TOML)
    #[arg(long, global = true, env = "BLACKHOLE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where accounts, users and keys are kept [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address that all ports listen on [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "IP")]
    listen: Option<String>,
    /// WebSocket port, 0 for any, or off [default: 5555]
    #[arg(long, global = true, value_name = "N")]
    ws_port: Option<String>,
    /// WebSocket port with TLS [default: 7777]
    #[arg(long, global = true, value_name = "N")]
    wss_port: Option<String>,
    /// HTTP port [default: 8000]
    #[arg(long, global = true, value_name = "N")]
    api_port: Option<String>,
    /// RabbitMQ to take events from, in place of the embedded bus
    #[arg(long, global = true, value_name = "URL")]
    amqp_url: Option<String>,
    /// At a stop, tell clients to come back (1012) in place of going away (1001)
    #[arg(long, global = true)]
    restart_notice: bool,
    /// Simulate a Kazoo: accounts, calls and all else are made up
    #[arg(long, global = true)]
    demo: bool,
    /// Calls that the simulation begins a minute [default: 12]
    #[arg(long, global = true, value_name = "N")]
    demo_calls_per_minute: Option<String>,
    /// The same seed makes the same accounts and calls [default: 1]
    #[arg(long, global = true, value_name = "N")]
    demo_seed: Option<String>,
    /// Any other setting
    #[arg(long, global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl SettingsArgs {
    fn layers(&self) -> Layers {
        let mut layers = Layers::defaults();
        if let Some(file) = &self.config {
            layers.file(file);
        }
        layers.environment(std::env::vars());
        for set in &self.set {
            let (name, value) = set.split_once('=').unwrap_or((set, ""));
            layers.flag("--set", name, value.to_owned());
        }
        for (flag, name, value) in [
            ("--data-dir", "data_dir", &self.data_dir),
            ("--listen", "listen", &self.listen),
            ("--ws-port", "ws.port", &self.ws_port),
            ("--wss-port", "wss.port", &self.wss_port),
            ("--api-port", "api.port", &self.api_port),
            ("--amqp-url", "amqp.url", &self.amqp_url),
            (
                "--demo-calls-per-minute",
                "demo.calls_per_minute",
                &self.demo_calls_per_minute,
            ),
            ("--demo-seed", "demo.seed", &self.demo_seed),
        ] {
            if let Some(value) = value {
                layers.flag(flag, name, value.clone());
            }
        }
        if self.restart_notice {
            layers.flag("--restart-notice", "stop.restart_notice", "true".into());
        }
        if self.demo {
            layers.flag("--demo", "demo.enabled", "true".into());
        }
        layers
    }
}

/// Runs the program. 0: done; 1: failed, with one line on standard error that says why; 2: wrong use.
pub fn run() -> ExitCode {
    // Fails only if it was installed before, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let layers = cli.settings.layers();
    if let Some(Command::Config(command)) = &cli.command {
        return exit(config::run(command, &layers));
    }
    let settings = match Settings::from_layers(&layers) {
        Ok(settings) => settings,
        Err(errors) => {
            for error in &errors.0 {
                output::complain(error);
            }
            return ExitCode::from(1);
        }
    };
    exit(match cli.command {
        None | Some(Command::Serve) => serve::run(settings),
        Some(Command::Account(command)) => account::run(&command, &settings),
        Some(Command::User(command)) => user::run(&command, &settings),
        Some(Command::Token(arguments)) => token::run(&arguments, &settings),
        Some(Command::Bindings(arguments)) => bindings::run(&arguments, &settings),
        Some(Command::Publish(arguments)) => publish::run(&arguments, &settings),
        Some(Command::Sockets(arguments)) => sockets::run(&arguments, &settings),
        Some(Command::Config(_)) => Ok(()),
    })
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(format_args!("{error:#}"));
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_the_table_exist() {
        let command = Cli::command();
        for setting in crate::settings::TABLE {
            if let Some(flag) = setting.flag {
                assert!(
                    command
                        .get_arguments()
                        .any(|arg| arg.get_long() == Some(flag)),
                    "--{flag}"
                );
            }
        }
    }
}
