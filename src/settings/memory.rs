//! How much memory there is for this process.

use std::fs::read_to_string;

/// Assumed where nothing tells.
const UNKNOWN: usize = 1 << 30;

/// Bytes of the machine, or of the container where that is less.
pub(super) fn total() -> usize {
    let machine = read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| installed(&text));
    let container = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .into_iter()
    .find_map(|file| read_to_string(file).ok()?.trim().parse().ok());
    machine
        .into_iter()
        .chain(container)
        .min()
        .unwrap_or(UNKNOWN)
}

fn installed(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_as_linux_writes_it() {
        let text = "MemTotal:       24603456 kB\nMemFree:        123 kB\n";
        assert_eq!(installed(text), Some(24_603_456 * 1024));
        assert_eq!(installed("Mem: 3"), None);
        assert!(total() > 1 << 20);
    }
}
