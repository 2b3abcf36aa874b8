//! Settings of the kernel.

use super::{Machine, Profile, Row, Settings, Step};
use crate::limits;
use crate::tune::value::show_octets;

pub(super) fn rows(machine: &Machine, profile: Profile, settings: &Settings) -> Vec<Row> {
    let most = |octets: fn(&crate::tune::CoreSettings) -> usize| {
        settings.cores.iter().map(octets).max().unwrap_or(0) as u64
    };
    let receive = most(|core| core.udp_receive_buffer_octets);
    let send = most(|core| core.udp_send_buffer_octets.unwrap_or(0));
    let mut rows = Vec::new();
    let mut at_least = |name, least, why| rows.extend(bounded(machine, name, least, why));
    at_least(
        "net.core.rmem_max",
        receive,
        "bounds udp_receive_buffer: a burst beyond the buffer is lost",
    );
    at_least("net.core.wmem_max", send, "bounds udp_send_buffer");
    let backlog = if profile.owns_machine() {
        16_384
    } else {
        1_000
    };
    at_least(
        "net.core.netdev_max_backlog",
        backlog,
        "packets between the card and the sockets, for each CPU (RPS, veth, loopback)",
    );
    at_least(
        "net.core.somaxconn",
        limits::TCP_BACKLOG as u64,
        "connections that wait to be accepted; percoredns asks for 4096",
    );
    let syn = if profile.owns_machine() { 8_192 } else { 1_024 };
    at_least(
        "net.ipv4.tcp_max_syn_backlog",
        syn,
        "connections that are being opened",
    );
    rows.extend(
        ["net.core.busy_poll", "net.core.busy_read"]
            .map(|name| off(machine, name))
            .into_iter()
            .flatten(),
    );
    rows.push(huge_pages(machine, profile));
    rows.push(slice(machine, settings));
    rows.push(release(machine, profile));
    rows
}

/// A setting that should not be below `least`.
fn bounded(machine: &Machine, name: &'static str, least: u64, why: &str) -> Option<Row> {
    let text = machine.sysctls.get(name)?;
    let is: u64 = text.parse().ok()?;
    let show = |value: u64| {
        if name.ends_with("mem_max") {
            format!("{value} ({})", show_octets(value))
        } else {
            value.to_string()
        }
    };
    let row = Row::new(name, show(is), why);
    Some(if is >= least {
        row
    } else {
        row.should(show(least)).step(Step::Sysctl(name, least))
    })
}

fn off(machine: &Machine, name: &'static str) -> Option<Row> {
    let text = machine.sysctls.get(name)?;
    let row = Row::new(
        name,
        text.clone(),
        "busy_poll below [global] does it for percoredns alone",
    );
    Some(if text == "0" {
        row
    } else {
        row.should("0").step(Step::Sysctl(name, 0))
    })
}

fn huge_pages(machine: &Machine, profile: Profile) -> Row {
    let what = "transparent huge pages";
    let why = "with huge_pages a large cache misses the page tables less often";
    let path = "sys/kernel/mm/transparent_hugepage/enabled";
    match machine.huge_pages.as_deref() {
        None => Row::new(what, "not in this kernel", why),
        Some("never") if profile.owns_machine() => Row::new(what, "never", why)
            .should("madvise")
            .step(Step::Put(path.to_owned(), "madvise".to_owned())),
        Some(mode) => Row::new(what, mode, why),
    }
}

fn slice(machine: &Machine, settings: &Settings) -> Row {
    let shortest = settings.cores.iter().map(|core| core.slice_ns).min();
    let is = match shortest {
        _ if !machine.keeps_slices() => "the kernel's (Linux 6.12 can)".to_owned(),
        None | Some(0) => "the kernel's".to_owned(),
        Some(slice_ns) => format!("{} us", slice_ns / 1_000),
    };
    let why = "beside a busy program packet threads wait a few slices for their CPU";
    Row::new("slice of packet threads", is, why)
}

fn release(machine: &Machine, profile: Profile) -> Row {
    let why = "6.13 can keep interrupts off between two busy polls (irq_suspend)";
    let row = Row::new("kernel", machine.kernel.clone(), why);
    if profile == Profile::Appliance && machine.release() < Some((6, 13)) {
        return row.should("6.13 or newer");
    }
    row
}
