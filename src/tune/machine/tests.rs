//! Machines of files: one with two sockets, SMT and a card of several queues, and what is read of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::testing::files::Dir;
use crate::transport::ethtool::{Channels, Hash};

/// What the fake cards answer.
pub const ASKS: Asks = Asks {
    allowed: || None,
    io_uring: || Err("io_uring_setup is refused by a seccomp profile".to_owned()),
    channels: |name| (name == "eth0").then_some(Channels { now: 4, max: 16 }),
    udp_hash: |name| {
        (name == "eth0").then_some(Hash {
            addresses: true,
            ports: false,
        })
    },
};

/// A folder that stands for `/`.
pub struct Tree {
    dir: Dir,
}

impl Tree {
    pub fn new() -> Tree {
        Tree { dir: Dir::new() }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn put(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path))
            .unwrap()
            .trim()
            .to_owned()
    }

    pub fn machine(&self) -> Machine {
        Machine::probe(self.root(), &ASKS)
    }

    fn card(&self, name: &str, state: &str, driver: &str, device: &str) -> String {
        let device = format!("sys/devices/{device}");
        self.put(&format!("{device}/vendor"), "0x15b3");
        self.put(&format!("sys/bus/drivers/{driver}/module"), "");
        let at = format!("sys/class/net/{name}");
        self.put(&format!("{at}/operstate"), state);
        let root = self.root();
        symlink(root.join(&device), root.join(&at).join("device")).unwrap();
        symlink(
            root.join("sys/bus/drivers").join(driver),
            root.join(&device).join("driver"),
        )
        .unwrap();
        device
    }
}

/// Two sockets with four cores each and SMT: CPUs 0-3 and 8-11 on node 0, 4-7 and 12-15 on node 1. `eth0` has four queues on node 0,
/// whose third interrupt floats; `eth1` is a virtio card with one queue; `eth2` is down.
pub fn two_sockets() -> Tree {
    let tree = Tree::new();
    tree.put("sys/devices/system/cpu/online", "0-15");
    tree.put("sys/devices/system/node/node0/cpulist", "0-3,8-11");
    tree.put("sys/devices/system/node/node1/cpulist", "4-7,12-15");
    for cpu in 0..16 {
        let folder = format!("sys/devices/system/cpu/cpu{cpu}");
        let first = cpu % 8;
        let siblings = format!("{first},{}", first + 8);
        tree.put(
            &format!("{folder}/topology/thread_siblings_list"),
            &siblings,
        );
        tree.put(&format!("{folder}/cpufreq/scaling_governor"), "powersave");
    }
    tree.put(
        "proc/self/status",
        "Name:\tpercoredns\nCapEff:\t0000000000000400\nCpus_allowed_list:\t0-15",
    );
    tree.put(
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            1024                 4096                 files     \n\
         Max locked memory         65536                65536                bytes     \n\
         Max nice priority         20                   20                             ",
    );
    tree.put("proc/meminfo", "MemTotal:       65536000 kB\nMemFree: 1 kB");
    tree.put("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse2 avx2");
    tree.put("proc/sys/kernel/osrelease", "6.12.0");
    for (name, value) in [
        ("rmem_max", "212992"),
        ("wmem_max", "4194304"),
        ("somaxconn", "128"),
        ("netdev_max_backlog", "1000"),
        ("busy_poll", "0"),
        ("busy_read", "0"),
    ] {
        tree.put(&format!("proc/sys/net/core/{name}"), value);
    }
    tree.put("proc/sys/net/ipv4/tcp_max_syn_backlog", "256");
    tree.put(
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always madvise [never]",
    );
    tree.put("proc/4242/comm", "irqbalance");
    tree.put("usr/sbin/ethtool", "");
    tree.put("usr/sbin/sysctl", "");
    two_cards(&tree);
    tree
}

fn two_cards(tree: &Tree) {
    let mut interrupts = "           CPU0       CPU1".to_owned();
    let card = tree.card("eth0", "up", "mlx5_core", "pci0000:3a/0000:3b:00.0");
    tree.put(&format!("{card}/numa_node"), "0");
    tree.put(&format!("{card}/msi_irqs/99"), "msix");
    interrupts += "\n  99:  1 2  PCI-MSIX  0-edge  mlx5_async0@pci:0000:3b:00.0";
    for (queue, affinity) in ["0", "1", "0-15", "3"].iter().enumerate() {
        let irq = 100 + queue;
        tree.put(&format!("{card}/msi_irqs/{irq}"), "msix");
        interrupts +=
            &format!("\n {irq}:  1 2  PCI-MSIX  {irq}-edge  mlx5_comp{queue}@pci:0000:3b:00.0");
        tree.put(&format!("proc/irq/{irq}/smp_affinity_list"), affinity);
        tree.put(
            &format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"),
            "0000",
        );
        tree.put(
            &format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"),
            "0000",
        );
    }
    tree.card(
        "eth1",
        "up",
        "virtio_net",
        "pci0000:00/0000:00:04.0/virtio3",
    );
    let parent = "sys/devices/pci0000:00/0000:00:04.0/msi_irqs";
    for (irq, action) in [(40, "config"), (41, "input.0"), (42, "output.0")] {
        tree.put(&format!("{parent}/{irq}"), "msix");
        interrupts += &format!("\n  {irq}:  1 2  PCI-MSIX  {irq}-edge  virtio3-{action}");
        tree.put(&format!("proc/irq/{irq}/smp_affinity_list"), "5");
    }
    tree.put(
        "sys/class/net/eth1/queues/rx-0/rps_cpus",
        "00000001,00000003",
    );
    tree.card("eth2", "down", "e1000e", "pci0000:00/0000:00:05.0");
    tree.put("sys/class/net/lo/operstate", "unknown");
    tree.put("proc/interrupts", &interrupts);
}

#[test]
fn a_machine_of_two_sockets_is_read() {
    let tree = two_sockets();
    let machine = tree.machine();
    assert_eq!(machine.allowed, (0..16).collect::<Vec<_>>());
    assert_eq!(machine.nodes(), [0, 1]);
    let cpu = machine.cpu(13).unwrap();
    assert_eq!((cpu.node, &cpu.siblings[..]), (Some(1), &[5, 13][..]));
    assert!(!cpu.is_first_sibling() && machine.cpu(5).unwrap().is_first_sibling());
    assert_eq!(cpu.governor.as_deref(), Some("powersave"));
    assert_eq!(machine.open_files, Some(4096));
    assert_eq!(machine.locked_octets, Some(65_536));
    assert_eq!(machine.nice_min, 0);
    assert!(machine.is_capable(10) && !machine.is_capable(CAP_NET_ADMIN));
    assert_eq!(machine.memory, Some(65_536_000 * 1024));
    assert_eq!(machine.memory_limit, None);
    assert_eq!(machine.huge_pages.as_deref(), Some("never"));
    assert_eq!(machine.sysctls["net.core.somaxconn"], "128");
    let tools: Vec<&str> = machine.tools.keys().copied().collect();
    assert_eq!(tools, TOOLS);
    assert_eq!(machine.release(), Some((6, 12)));
    assert!(machine.irqbalance && !machine.is_virtual);
}

#[test]
fn the_least_nice_value_depends_on_rights_and_on_the_own() {
    #[track_caller]
    fn check(capabilities: &str, limit: &str, own: &str, expect: i8) {
        let tree = Tree::new();
        tree.put("proc/self/status", &format!("CapEff:\t{capabilities}"));
        tree.put(
            "proc/self/limits",
            &format!("Max nice priority  {limit}  {limit}  "),
        );
        let fields = "R 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20";
        tree.put("proc/self/stat", &format!("1 (a) b) {fields} {own} 1 0"));
        assert_eq!(tree.machine().nice_min, expect);
    }
    check("0", "0", "0", 0);
    check("0", "0", "10", 10);
    check("0", "0", "-5", -5);
    check("0", "30", "10", -10);
    check("0", "40", "0", -20);
    check("0", "unlimited", "0", -20);
    check("0000000000800000", "0", "10", -20);
}

#[test]
fn queues_have_their_interrupts() {
    let machine = two_sockets().machine();
    let names: Vec<&str> = machine.nics.iter().map(|nic| &*nic.name).collect();
    assert_eq!(names, ["eth0", "eth1"]);
    let nic = machine.nic("eth0").unwrap();
    assert_eq!(nic.driver.as_deref(), Some("mlx5_core"));
    assert_eq!((nic.node, nic.tx), (Some(0), 4));
    let irqs: Vec<(u32, String)> = nic
        .rx
        .iter()
        .map(|rx| {
            let irq = rx.irq.as_ref().unwrap();
            (irq.number, irq.show())
        })
        .collect();
    let expect = [(100, "0"), (101, "1"), (102, "0-15"), (103, "3")];
    assert_eq!(irqs, expect.map(|(irq, on)| (irq, on.to_owned())));
    let virtio = machine.nic("eth1").unwrap();
    assert_eq!(virtio.rx.len(), 1);
    assert_eq!(virtio.rx[0].irq.as_ref().unwrap().number, 41);
    assert_eq!(virtio.rx[0].rps, [0, 1, 32]);
}

#[test]
fn an_empty_machine_has_nothing() {
    let machine = Tree::new().machine();
    assert!(machine.cpus.is_empty() && machine.allowed.is_empty() && machine.nics.is_empty());
    assert_eq!((machine.open_files, machine.huge_pages), (None, None));
}

#[test]
fn masks_are_written_as_they_are_read() {
    for cpus in [vec![0], vec![0, 1, 33], vec![95]] {
        assert_eq!(cpus::mask(&cpus::show_mask(&cpus)), cpus);
    }
    assert_eq!(cpus::show_mask(&[0, 1, 33]), "00000002,00000003");
    assert_eq!(cpus::list("0-2,5,x,7-9999999"), [0, 1, 2, 5]);
}

#[test]
fn this_machine_is_read_too() {
    let machine = Machine::here();
    assert_eq!(machine.allowed, runtime::cores::allowed_cpus().unwrap());
    assert!(!machine.kernel.is_empty() && machine.memory.is_some());
    assert_eq!(machine.io_uring.is_ok(), runtime::probe().is_ok());
}
