//! The `process_*` family that Prometheus clients export, read from /proc at each scrape.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use super::cells::Value;
use super::{Collected, Kind, Labels};

/// Adds what /proc tells; a file that cannot be read leaves its metrics out.
pub(super) fn collect(families: &mut BTreeMap<String, Collected>) {
    let mut add = |name: &str, help: &str, kind: Kind, value: f64| {
        let family = Collected {
            help: help.to_owned(),
            kind,
            series: BTreeMap::from([(Labels::new(), Value::Number(value))]),
        };
        families.insert(name.to_owned(), family);
    };
    if let Some(stat) = read("/proc/self/stat").as_deref().and_then(parse_stat) {
        add(
            "process_cpu_seconds_total",
            "User and system CPU time of the process.",
            Kind::Counter,
            stat.cpu_s,
        );
        add(
            "process_virtual_memory_bytes",
            "Size of the address space.",
            Kind::Gauge,
            stat.virtual_octets,
        );
        if let Some(boot_s) = boot_time_s() {
            let start_s = boot_s + stat.start_s;
            add(
                "process_start_time_seconds",
                "Start of the process in Unix time.",
                Kind::Gauge,
                start_s,
            );
        }
    }
    if let Some(octets) = read("/proc/self/status")
        .as_deref()
        .and_then(resident_octets)
    {
        add(
            "process_resident_memory_bytes",
            "Memory resident in RAM.",
            Kind::Gauge,
            octets,
        );
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // The directory that is being read is itself one of the descriptors.
        let open = entries.count().saturating_sub(1);
        add(
            "process_open_fds",
            "File descriptors in use.",
            Kind::Gauge,
            open as f64,
        );
    }
    if let Some(limits) = read("/proc/self/limits") {
        if let Some(max) = soft_limit(&limits, "Max open files") {
            add(
                "process_max_fds",
                "File descriptors that may be used.",
                Kind::Gauge,
                max,
            );
        }
        if let Some(max) = soft_limit(&limits, "Max address space") {
            add(
                "process_virtual_memory_max_bytes",
                "Largest address space allowed.",
                Kind::Gauge,
                max,
            );
        }
    }
    if let Some((received, sent)) = read("/proc/self/net/netstat")
        .as_deref()
        .and_then(parse_netstat)
    {
        let help = "Octets received in the network namespace of the process.";
        add(
            "process_network_receive_bytes_total",
            help,
            Kind::Counter,
            received,
        );
        let help = "Octets sent in the network namespace of the process.";
        add(
            "process_network_transmit_bytes_total",
            help,
            Kind::Counter,
            sent,
        );
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_s: f64,
    /// Since boot.
    start_s: f64,
    virtual_octets: f64,
}

/// Fields 14, 15, 22 and 23 of proc_pid_stat(5), counted after the command, which may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_s: (field(14)? + field(15)?) / USER_HZ,
        start_s: field(22)? / USER_HZ,
        virtual_octets: field(23)?,
    })
}

fn soft_limit(limits: &str, name: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

/// Octets received and sent of the `IpExt` rows: one names the columns, the next holds them.
fn parse_netstat(text: &str) -> Option<(f64, f64)> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (rows.next()?, rows.next()?);
    let find = |wanted: &str| {
        let at = names.split(' ').position(|name| name == wanted)?;
        values.split(' ').nth(at)?.parse().ok()
    };
    Some((find("InOctets")?, find("OutOctets")?))
}

fn boot_time_s() -> Option<f64> {
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = read("/proc/stat")?;
        stat.lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()
    })
}

/// The `VmRSS` row of /proc/self/status, in octets. Unlike the pages of /proc/self/stat it needs no page size.
fn resident_octets(status: &str) -> Option<f64> {
    let row = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = row.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Ticks a second in /proc, fixed by the kernel's interface on every architecture that Rust's tier 1 knows.
const USER_HZ: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_any_command_name() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 1000 123456789 555 18446744073709551615 1";
        let expect = Stat {
            cpu_s: 3.0,
            start_s: 10.0,
            virtual_octets: 123_456_789.0,
        };
        assert_eq!(parse_stat(text), Some(expect));
        assert_eq!(parse_stat("42 (short) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn limits_take_the_soft_column() {
        let text = "Limit  Soft Limit Hard Limit Units\nMax open files            1024      4096    files\n\
                    Max address space         unlimited   unlimited    bytes\n";
        assert_eq!(soft_limit(text, "Max open files"), Some(1024.0));
        assert_eq!(soft_limit(text, "Max address space"), Some(u64::MAX as f64));
        assert_eq!(soft_limit(text, "Max locked memory"), None);
    }

    #[test]
    fn resident_memory_is_in_octets() {
        assert_eq!(
            resident_octets("Name:\tx\nVmRSS:\t    2048 kB\n"),
            Some(2_097_152.0)
        );
        assert_eq!(resident_octets("Name:\tx\n"), None);
    }

    #[test]
    fn netstat_pairs_names_with_values() {
        let text =
            "TcpExt: A B\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 77 88\n";
        assert_eq!(parse_netstat(text), Some((77.0, 88.0)));
        assert_eq!(parse_netstat("IpExt: InOctets\n"), None);
    }

    #[test]
    fn this_process_is_described() {
        let mut families = BTreeMap::new();
        collect(&mut families);
        for name in [
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_virtual_memory_bytes",
            "process_virtual_memory_max_bytes",
        ] {
            assert!(families.contains_key(name), "{name}");
        }
    }
}
