//! Results, as tables and as JSON.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::Options;
use crate::process::Spent;
use crate::tally::Tally;

/// CPU times come in steps of 10 ms; a difference of less than this says nothing.
const LEAST_CPU: f64 = 0.1;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    server: String,
    window: u32,
    publishers: u32,
    rate: Option<u32>,
    pub(crate) idle: Vec<Idle>,
    pub(crate) fanout: Vec<Fanout>,
}

/// Of sockets that do nothing. Memory in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) sockets: usize,
    pub(crate) bindings: usize,
    pub(crate) connects_per_second: f64,
    pub(crate) cpu_us_per_connect: f64,
    pub(crate) client_cpu_seconds: f64,
    pub(crate) rss_before: u64,
    pub(crate) rss_after: u64,
    pub(crate) bytes_per_socket: u64,
    pub(crate) idle_cpu_percent: f64,
}

/// Of events that every socket gets. "Gross" is with the server's CPU for HTTP and JSON of
/// publishing, "net" without it; `None` where the CPU was too little to be measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Fanout {
    sockets: u32,
    events: usize,
    frame_bytes: u64,
    seconds: f64,
    deliveries: u64,
    deliveries_per_second: f64,
    server_cpu_seconds: f64,
    client_cpu_seconds: f64,
    others_cpu_seconds: f64,
    publishing_cpu_us_per_event: f64,
    deliveries_per_cpu_second_gross: Option<f64>,
    deliveries_per_cpu_second_net: Option<f64>,
    /// Mean; far below the window, the publishers were too slow to fill it.
    events_under_way: f64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    lost: u64,
    doubled: u64,
    /// After a later one of the same publisher.
    out_of_order: u64,
    /// Sockets that got all events, but in another order than the first that got all.
    sockets_of_other_order: u64,
    /// Messages that are no events of this measurement.
    foreign: u64,
    sockets_closed: u64,
    /// How the first of them was closed.
    close: Option<String>,
}

impl Fanout {
    pub(crate) fn new(sockets: u32, events: usize) -> Self {
        Self {
            sockets,
            events,
            ..Self::default()
        }
    }

    /// Adds up the sockets.
    pub(crate) fn count(&mut self, tallies: impl Iterator<Item = Tally>) {
        let (mut order, mut bytes, mut messages) = (None, 0, 0);
        for tally in tallies {
            self.deliveries += tally.distinct;
            self.lost += self.events as u64 - tally.distinct;
            self.doubled += tally.doubled;
            self.out_of_order += tally.disordered;
            self.foreign += tally.foreign;
            bytes += tally.bytes;
            messages += tally.distinct + tally.doubled + tally.foreign;
            // What is lost makes another order too; that is counted as lost.
            if tally.distinct == self.events as u64 {
                let same = *order.get_or_insert(tally.order) == tally.order;
                self.sockets_of_other_order += u64::from(!same);
            }
            if let Some(end) = tally.ended {
                self.sockets_closed += 1;
                self.close.get_or_insert(end);
            }
        }
        self.frame_bytes = bytes / messages.max(1);
    }

    /// Rates, once the deliveries are counted. `publishing`: CPU seconds of the server an event.
    pub(crate) fn rate(&mut self, spent: Spent, publishing: f64) {
        let deliveries = self.deliveries as f64;
        let per_cpu_second = |cpu: f64| (cpu >= LEAST_CPU).then(|| deliveries / cpu);
        let net = spent.server - publishing * self.events as f64;
        self.seconds = spent.wall.as_secs_f64();
        self.deliveries_per_second = deliveries / self.seconds;
        self.server_cpu_seconds = spent.server;
        self.client_cpu_seconds = spent.client;
        self.others_cpu_seconds = spent.others;
        self.publishing_cpu_us_per_event = publishing * 1e6;
        self.deliveries_per_cpu_second_gross = per_cpu_second(spent.server);
        self.deliveries_per_cpu_second_net = per_cpu_second(net);
    }

    /// From sorted times, once the rates are known.
    pub(crate) fn latency(&mut self, sorted: &[Duration]) {
        let sum: Duration = sorted.iter().sum();
        self.events_under_way = sum.as_secs_f64() / self.seconds;
        let quantile = |hundredths: usize| {
            let at = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
            sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        self.latency_p50_ms = quantile(50);
        self.latency_p99_ms = quantile(99);
    }

    fn is_sound(&self) -> bool {
        let wrong = self.lost + self.doubled + self.out_of_order + self.foreign;
        wrong + self.sockets_of_other_order + self.sockets_closed == 0
    }

    fn row(&self) -> Vec<String> {
        let per_cpu_second = |figure| cell(figure, whole);
        let each = |figure| cell(figure, |rate| format!("{:.2}", 1e6 / rate));
        vec![
            self.sockets.to_string(),
            self.events.to_string(),
            self.frame_bytes.to_string(),
            format!("{:.2}", self.seconds),
            whole(self.deliveries_per_second),
            per_cpu_second(self.deliveries_per_cpu_second_gross),
            per_cpu_second(self.deliveries_per_cpu_second_net),
            each(self.deliveries_per_cpu_second_net),
            format!("{:.1}", self.publishing_cpu_us_per_event),
            format!("{:.2}", self.server_cpu_seconds),
            format!("{:.2}", self.client_cpu_seconds),
            format!("{:.2}", self.others_cpu_seconds),
            format!("{:.0}", self.events_under_way),
            format!("{:.2}", self.latency_p50_ms),
            format!("{:.2}", self.latency_p99_ms),
            self.lost.to_string(),
            self.doubled.to_string(),
            (self.out_of_order + self.sockets_of_other_order).to_string(),
        ]
    }
}

const FANOUT: [&str; 18] = [
    "sockets",
    "events",
    "bytes",
    "s",
    "deliv/s",
    "gross/CPU s",
    "net/CPU s",
    "net us",
    "publ us",
    "server CPU s",
    "client CPU s",
    "others CPU s",
    "under way",
    "p50 ms",
    "p99 ms",
    "lost",
    "doubled",
    "disorder",
];

impl Idle {
    fn row(&self) -> Vec<String> {
        vec![
            self.sockets.to_string(),
            self.bindings.to_string(),
            whole(self.connects_per_second),
            whole(self.cpu_us_per_connect),
            format!("{:.2}", self.client_cpu_seconds),
            (self.rss_before / 1024).to_string(),
            (self.rss_after / 1024).to_string(),
            self.bytes_per_socket.to_string(),
            format!("{:.1}", self.idle_cpu_percent),
        ]
    }
}

const IDLE: [&str; 9] = [
    "sockets",
    "bindings",
    "connects/s",
    "CPU us each",
    "client CPU s",
    "RSS before KiB",
    "RSS after KiB",
    "bytes/socket",
    "idle CPU %",
];

impl Report {
    pub(crate) fn new(server: &Path, options: &Options) -> Self {
        Self {
            server: server.display().to_string(),
            window: options.window,
            publishers: options.publishers,
            rate: options.rate,
            idle: Vec::new(),
            fanout: Vec::new(),
        }
    }

    /// Whether every event came once and in order.
    pub(crate) fn is_sound(&self) -> bool {
        self.fanout.iter().all(Fanout::is_sound)
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            // Plain data: it always can be written.
            println!("{}", serde_json::to_string(self).unwrap_or_default());
            return;
        }
        println!("server {}", self.server);
        if !self.idle.is_empty() {
            println!("\nidle: a connect is handshake, log-in and subscription");
            table(&IDLE, self.idle.iter().map(Idle::row));
        }
        if !self.fanout.is_empty() {
            self.print_fanout();
        }
    }

    fn print_fanout(&self) {
        let pace = self.rate.map_or_else(
            || "as fast as the window allows".into(),
            |rate| format!("{rate} events/s"),
        );
        println!(
            "\nfanout: {pace}, window {}, {} publishers",
            self.window, self.publishers
        );
        table(&FANOUT, self.fanout.iter().map(Fanout::row));
        println!(
            "gross/CPU s: deliveries a server CPU second, HTTP and JSON of PUT /v2/events included"
        );
        println!(
            "net/CPU s: without publ us an event, which the same requests cost while nobody listened"
        );
        println!(
            "others CPU s: of all other processes; under way: mean number of events, at most the window"
        );
        println!("latency: from the request to publish until the last socket has read the event");
        for result in &self.fanout {
            if let Some(close) = &result.close {
                println!(
                    "{} of {} sockets ended, the first: {close}",
                    result.sockets_closed, result.sockets
                );
            }
            if result.foreign > 0 {
                println!("{} messages were no events", result.foreign);
            }
        }
    }
}

fn cell(figure: Option<f64>, format: impl Fn(f64) -> String) -> String {
    figure.map_or_else(|| "-".into(), format)
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}

/// Right-aligned columns, as wide as they need to be.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let head = head.iter().map(|&title| title.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(String::len)
            .max()
    };
    for line in &lines {
        let cells = line.iter().enumerate();
        let cells = cells.map(|(column, cell)| format!("{cell:>0$}", width(column).unwrap_or(0)));
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}
