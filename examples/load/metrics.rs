//! The server's own metrics.

use anyhow::Context;
use http::Method;

use crate::Lab;
use crate::api::Http;
use crate::server::Server;

/// `/metrics` at one moment.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) fn read(lab: &Lab, server: &Server) -> anyhow::Result<Self> {
        let mut http = Http::new(server);
        let answer = http.send(Method::GET, "/metrics", "");
        let text = lab.runtime.block_on(answer)?;
        Ok(Self(String::from_utf8(text.to_vec())?))
    }

    /// Sum over all labels.
    pub(crate) fn sum(&self, name: &str) -> anyhow::Result<u64> {
        let all = self.by_label(name);
        if all.is_empty() {
            None.with_context(|| format!("no metric {name}"))?;
        }
        Ok(all.iter().map(|(_, value)| value).sum())
    }

    /// Labels as they stand there, and values.
    pub(crate) fn by_label(&self, name: &str) -> Vec<(String, u64)> {
        let one = |line: &str| {
            let (head, value) = line.rsplit_once(' ')?;
            let labels = head.strip_prefix(name)?;
            let exact = labels.is_empty() || labels.starts_with('{');
            let value = exact.then(|| value.parse::<f64>().ok()).flatten()?;
            Some((labels.trim_matches(['{', '}']).to_owned(), value as u64))
        };
        self.0.lines().filter_map(one).collect()
    }

    /// Why sockets were closed and how often, for people.
    pub(crate) fn closes(&self) -> String {
        let closes = self.by_label("blackhole_sockets_closed_total");
        let closes = closes.iter().filter(|(_, count)| *count > 0);
        let closes = closes.map(|(labels, count)| {
            let reason = labels
                .split_once("reason=")
                .map_or(&**labels, |(_, reason)| reason);
            format!("{} {count}", reason.trim_matches('"'))
        });
        closes.collect::<Vec<_>>().join(", ")
    }
}
