//! What Linux tells about a process.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// `_SC_CLK_TCK` of Linux: the unit of CPU times in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;
/// Files beside the sockets that a process has open.
const OTHER_FILES: u64 = 1280;

/// The processes that are looked at, beside this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) server: u32,
    /// RabbitMQ, where it runs on this machine.
    pub(crate) broker: Option<u32>,
}

/// A point in time and the CPU spent until then.
#[derive(Debug)]
pub(crate) struct Mark {
    at: Instant,
    server: f64,
    client: f64,
    broker: f64,
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
    pub(crate) broker: f64,
    /// Of all other processes: much of it makes a measurement worth less.
    pub(crate) others: f64,
}

impl Watched {
    pub(crate) fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark {
            at: Instant::now(),
            server: cpu_seconds(self.server)?,
            client: cpu_seconds(std::process::id())?,
            broker: self.broker.map_or(Ok(0.0), cpu_seconds)?,
            busy: busy_seconds()?,
        })
    }

    pub(crate) fn since(&self, start: &Mark) -> anyhow::Result<Spent> {
        let now = self.mark()?;
        let server = now.server - start.server;
        let client = now.client - start.client;
        let broker = now.broker - start.broker;
        Ok(Spent {
            wall: now.at - start.at,
            server,
            client,
            broker,
            others: (now.busy - start.busy - server - client - broker).max(0.0),
        })
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

/// As many sockets as a process may have.
pub(crate) fn most_sockets() -> anyhow::Result<u32> {
    let allowed = rlimit::increase_nofile_limit(u64::MAX).context("limit of open files")?;
    Ok(u32::try_from(allowed.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX))
}

/// The process that listens on this TCP port of this machine, if we may see it.
pub(crate) fn listener(port: u16) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .find_map(|text| {
            text.lines()
                .find_map(|line| listening_inode(line, port).map(str::to_owned))
        })?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.filter_map(Result::ok).find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(process.path().join("fd")).ok()?;
        files
            .any(|file| {
                let target = file.and_then(|file| std::fs::read_link(file.path()));
                target.is_ok_and(|target| target.as_os_str() == wanted.as_str())
            })
            .then_some(pid)
    })
}

/// The inode of the socket on a line of `/proc/net/tcp`, if it listens on this port.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let listens = fields.get(3) == Some(&LISTEN) && u16::from_str_radix(hex, 16) == Ok(port);
    listens.then(|| fields.get(9).copied()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found() {
        let line = "  1: 0100007F:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1";
        assert_eq!(listening_inode(line, 0x1628), Some("4711"));
        assert_eq!(listening_inode(line, 1), None);
        assert_eq!(listening_inode(&line.replace("0A", "01"), 0x1628), None);
    }
}
