//! Where values come from: defaults < file < environment < flags.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::table::{Setting, TABLE};
use super::units;
use crate::auth::IssuerSettings;
use crate::catalogue::CatalogueError;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// The settings file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One value as `config show` prints it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// The setting.
    pub name: &'static str,
    /// Its value; a secret is hidden.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// All layers, the winning value of each setting on top. Values may be wrong still.
#[derive(Debug)]
pub struct Layers {
    values: HashMap<&'static str, (String, Origin)>,
    errors: Vec<String>,
    file: Option<PathBuf>,
    file_text: String,
}

/// Tables of the file that are no plain settings.
const TABLES: [&str; 3] = ["category", "exchange", "issuer"];

impl Layers {
    /// Defaults only.
    pub fn defaults() -> Self {
        let of = |setting: &Setting| (setting.name, (setting.default.to_owned(), Origin::Default));
        Self {
            values: TABLE.iter().map(of).collect(),
            errors: Vec::new(),
            file: None,
            file_text: String::new(),
        }
    }

    /// Adds a settings file (TOML).
    pub fn file(&mut self, path: &Path) {
        self.file = Some(path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self
                    .errors
                    .push(format!("file {}: {error}", path.display()));
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => {
                self.table("", &table, path);
                self.file_text = text;
            }
            Err(error) => {
                let line = error
                    .span()
                    .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
                self.errors.push(format!(
                    "file {}, line {line}: {}",
                    path.display(),
                    error.message()
                ));
            }
        }
    }

    fn table(&mut self, prefix: &str, table: &toml::Table, path: &Path) {
        for (key, value) in table {
            let name = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            let text = match value {
                _ if prefix.is_empty() && TABLES.contains(&key.as_str()) => continue,
                toml::Value::Table(inner) => {
                    self.table(&name, inner, path);
                    continue;
                }
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(items) => {
                    let texts: Vec<_> = items.iter().filter_map(toml::Value::as_str).collect();
                    texts.join(",")
                }
                other => other.to_string(),
            };
            self.set(&name, text, Origin::File(path.to_owned()));
        }
    }

    /// Adds the environment's variables that are settings.
    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (variable, text) in variables {
            if let Some(setting) = TABLE.iter().find(|setting| setting.variable() == variable) {
                self.set(setting.name, text, Origin::Environment(variable));
            }
        }
    }

    /// Adds a flag's value for a setting.
    pub fn flag(&mut self, flag: &str, name: &str, text: String) {
        self.set(name, text, Origin::Flag(flag.to_owned()));
    }

    fn set(&mut self, name: &str, text: String, origin: Origin) {
        match TABLE.iter().find(|setting| setting.name == name) {
            Some(setting) => {
                self.values.insert(setting.name, (text, origin));
            }
            None => self
                .errors
                .push(format!("{name} ({origin}): no such setting{}", near(name))),
        }
    }

    pub(super) fn errors(&self) -> &[String] {
        &self.errors
    }

    /// Every value that is not allowed.
    pub(super) fn check(&self) -> Vec<String> {
        let wrong = |setting: &&Setting| !setting.accepts(&self.values[setting.name].0);
        let tell = |setting: &Setting| {
            let (text, origin) = &self.values[setting.name];
            let shown = if setting.is_secret() {
                "***".into()
            } else {
                format!("{text:?}")
            };
            format!(
                "{} = {shown} ({origin}): allowed is {}",
                setting.name,
                setting.allowed()
            )
        };
        TABLE.iter().filter(wrong).map(tell).collect()
    }

    /// All values in force, for people.
    pub fn shown(&self) -> Vec<Shown> {
        let show = |setting: &Setting| {
            let (text, origin) = &self.values[setting.name];
            let hidden = setting.is_secret() && !text.is_empty();
            Shown {
                name: setting.name,
                value: if hidden { "***".into() } else { text.clone() },
                origin: origin.clone(),
            }
        };
        TABLE.iter().map(show).collect()
    }

    pub(super) fn file_text(&self) -> &str {
        &self.file_text
    }

    pub(super) fn in_file(&self, error: &CatalogueError) -> String {
        let file = self
            .file
            .as_deref()
            .unwrap_or_else(|| Path::new("catalogue"))
            .display();
        format!("file {file}, line {}: {}", error.line, error.reason)
    }

    /// The `[[issuer]]` tables.
    pub(super) fn issuers(&self) -> Result<Vec<IssuerSettings>, String> {
        #[derive(Deserialize)]
        struct Issuers {
            #[serde(default)]
            issuer: Vec<IssuerSettings>,
        }
        toml::from_str::<Issuers>(&self.file_text)
            .map(|issuers| issuers.issuer)
            .map_err(|error| {
                let line = error.span().map_or(1, |span| {
                    self.file_text[..span.start].matches('\n').count() + 1
                });
                let reason = error.message().to_owned();
                self.in_file(&CatalogueError { line, reason })
            })
    }

    /// The directory that the file's paths are taken from.
    pub(super) fn base(&self) -> PathBuf {
        self.file
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned)
            .unwrap_or_default()
    }

    // What follows reads values that `check` has accepted.

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(text, _)| text.as_str())
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> T {
        let text = self.text(name).unwrap_or_default();
        #[expect(
            clippy::panic,
            reason = "the table accepts only what parses; a test reads every setting"
        )]
        text.parse().unwrap_or_else(|_| panic!("setting {name}"))
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    }

    pub(super) fn port(&self, name: &str) -> Option<u16> {
        (self.text(name) != Some("off")).then(|| self.parsed(name))
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(units::duration)
    }

    pub(super) fn bytes(&self, name: &str) -> u64 {
        self.text(name).and_then(units::size).unwrap_or_default()
    }

    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.bytes(name)).unwrap_or(usize::MAX)
    }

    pub(super) fn node(&self) -> String {
        let set = self.text("node").filter(|text| !text.is_empty());
        set.map_or_else(|| format!("blackhole@{}", hostname()), str::to_owned)
    }
}

fn hostname() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    let name: String = read.trim().chars().filter(plain).take(64).collect();
    if name.is_empty() {
        "localhost".into()
    } else {
        name
    }
}

/// A setting that was probably meant.
fn near(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let alike = |setting: &&Setting| {
        setting.name.ends_with(last)
            || last.contains(setting.name.rsplit('.').next().unwrap_or_default())
    };
    let found: Vec<_> = TABLE
        .iter()
        .filter(alike)
        .map(|setting| setting.name)
        .take(3)
        .collect();
    if found.is_empty() {
        "; `blackhole config show` lists all".into()
    } else {
        format!("; did you mean {}?", found.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, SettingsError};
    use super::*;

    fn layers(file: &str) -> (tempfile::TempDir, Layers) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blackhole.toml");
        std::fs::write(&path, file).expect("written");
        let mut layers = Layers::defaults();
        layers.file(&path);
        (folder, layers)
    }

    fn errors(layers: &Layers) -> Vec<String> {
        let SettingsError(errors) = Settings::from_layers(layers).expect_err("wrong settings");
        errors
    }

    #[test]
    fn defaults_make_settings() {
        let settings = Settings::from_layers(&Layers::defaults()).expect("sound");
        assert_eq!(settings.ws_port, Some(5555));
        assert_eq!(settings.socket.max_message_bytes, 65_536);
        assert!(settings.amqp.is_none());
        assert!(settings.node.starts_with("blackhole@"));
    }

    #[test]
    fn later_layers_win_and_are_remembered() {
        let (_folder, mut layers) = layers(
            "listen = \"0.0.0.0\"\n[ws]\nport = 1\n[socket]\norigins = [\"https://a.example\", \"http://b.example\"]\n",
        );
        layers.environment(
            [("BLACKHOLE_WS_PORT", "2"), ("BLACKHOLE_OTHER", "x")]
                .map(|(k, v)| (k.into(), v.into()))
                .into_iter(),
        );
        layers.flag("--wss-port", "wss.port", "off".into());
        let settings = Settings::from_layers(&layers).expect("sound");
        assert_eq!((settings.ws_port, settings.wss_port), (Some(2), None));
        assert_eq!(
            settings.socket.origins,
            ["https://a.example", "http://b.example"]
        );
        let origin = |name| {
            layers
                .shown()
                .into_iter()
                .find(|shown| shown.name == name)
                .expect("shown")
                .origin
        };
        assert_eq!(
            origin("ws.port"),
            Origin::Environment("BLACKHOLE_WS_PORT".into())
        );
        assert_eq!(origin("wss.port"), Origin::Flag("--wss-port".into()));
        assert!(matches!(origin("listen"), Origin::File(_)));
    }

    #[test]
    fn every_error_is_told_at_once_with_its_origin() {
        let (folder, mut layers) = layers("listn = \"x\"\n[socket]\nlogin_timeout = \"soon\"\n");
        layers.environment([("BLACKHOLE_WS_PORT".into(), "70000".into())].into_iter());
        layers.flag("--amqp-url", "amqp.url", "http://user:hunter2@host".into());
        layers.flag("--set", "tls.key", "k".into());
        let errors = errors(&layers);
        let all = errors.join("\n");
        assert_eq!(errors.len(), 5, "{all}");
        let file = folder.path().join("blackhole.toml").display().to_string();
        for part in [
            format!("listn (file {file}): no such setting"),
            format!("socket.login_timeout = \"soon\" (file {file}): allowed is 100ms to 1d"),
            "ws.port = \"70000\" (environment BLACKHOLE_WS_PORT): allowed is 1 to 65535".into(),
            "amqp.url = *** (flag --amqp-url): allowed is amqp://".into(),
            "set both or neither".into(),
        ] {
            assert!(all.contains(&part), "{part} in\n{all}");
        }
        assert!(!all.contains("hunter2"));
    }

    #[test]
    fn a_broken_category_names_file_and_line() {
        let (folder, layers) = layers("listen = \"127.0.0.1\"\n\n[[category]]\nname = \"door\"\n");
        let file = folder.path().join("blackhole.toml");
        assert_eq!(
            errors(&layers),
            [format!(
                "file {}, line 4: category door: no [[category.form]]",
                file.display()
            )]
        );
    }

    #[test]
    fn secrets_are_hidden() {
        let mut layers = Layers::defaults();
        layers.flag(
            "--amqp-url",
            "amqp.url",
            "amqp://u:hunter2@host:5672/%2f".into(),
        );
        let shown = layers.shown();
        let url = shown
            .iter()
            .find(|shown| shown.name == "amqp.url")
            .expect("shown");
        assert_eq!(url.value, "***");
        let settings = Settings::from_layers(&layers).expect("sound");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
