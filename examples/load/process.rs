//! What Linux tells about a process.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// `_SC_CLK_TCK` of Linux: the unit of CPU times in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;
/// Files beside the sockets that a process has open.
const OTHER_FILES: u64 = 64;

/// A point in time and the CPU spent until then.
#[derive(Debug)]
pub(crate) struct Mark {
    at: Instant,
    server: f64,
    client: f64,
    /// Of the whole machine.
    busy: f64,
}

/// What was spent between two marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    /// CPU seconds of all threads, user and system.
    pub(crate) server: f64,
    pub(crate) client: f64,
    /// Of all other processes: much of it makes a measurement worth less.
    pub(crate) others: f64,
}

impl Mark {
    /// Now, with a server of this process id.
    pub(crate) fn now(server: u32) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: cpu_seconds(server)?,
            client: cpu_seconds(std::process::id())?,
            busy: busy_seconds()?,
        })
    }

    pub(crate) fn until(&self, later: &Self) -> Spent {
        let server = later.server - self.server;
        let client = later.client - self.client;
        Spent {
            wall: later.at - self.at,
            server,
            client,
            others: (later.busy - self.busy - server - client).max(0.0),
        }
    }
}

fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{file}: has the server died?"))?;
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
    let fields = text.rsplit_once(')').map(|(_, fields)| fields);
    let mut fields = fields
        .with_context(|| format!("{file}: no name"))?
        .split_whitespace()
        .skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks().zip(ticks()).context("no CPU times")?;
    Ok((user + system) / TICKS_PER_SECOND)
}

/// What all CPUs together were not idle.
fn busy_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let fields = text.lines().next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
        bail!("/proc/stat: no CPU times");
    };
    Ok((user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND)
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{file}: has the server died?"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("{file}: no VmRSS"))? * 1024)
}

/// Raises the limit of open files, for us and for the server, which inherits it; refuses what cannot
/// work.
pub(crate) fn allow_open_files(sockets: usize) -> anyhow::Result<()> {
    let needed = sockets as u64 + OTHER_FILES;
    let allowed = rlimit::increase_nofile_limit(needed).context("limit of open files")?;
    if allowed < needed {
        bail!("{allowed} open files are allowed, {needed} are needed: raise `ulimit -Hn`");
    }
    Ok(())
}
