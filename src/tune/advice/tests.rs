//! The whole table of a machine of files, and what applying it changes there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tune::command::run_on;
use crate::tune::machine::tests::{Tree, two_sockets};
use crate::tune::profile;

fn table_of(machine: &Machine, profile: Profile) -> Vec<Row> {
    let written = profile::write(profile, machine).unwrap();
    rows(machine, profile, &written.settings)
}

/// `what: is -> should` of each row.
fn show(rows: &[Row]) -> Vec<String> {
    let row = |row: &Row| {
        let should = row.should.as_deref().unwrap_or("ok");
        format!("{}: {} -> {should}", row.what, row.is)
    };
    rows.iter().map(row).collect()
}

fn steps(rows: &[Row], machine: &Machine) -> Vec<String> {
    let steps = rows.iter().flat_map(|row| &row.steps);
    steps.map(|step| step.show(machine)).collect()
}

#[test]
fn the_table_of_an_appliance_with_two_sockets() {
    let tree = two_sockets();
    let machine = tree.machine();
    let rows = table_of(&machine, Profile::Appliance);
    assert_eq!(
        show(&rows),
        [
            "CPUs: 16 online, 8 cores with SMT, 2 NUMA nodes -> data cores on 0-3 (cpus, -cores)",
            "CPU quota: none -> ok",
            "memory: 64000 MiB, no limit -> ok",
            "frequency governor: powersave -> performance",
            "open files: 4096 -> 196864 (LimitNOFILE=, ulimit -n)",
            "io_uring: refused -> allowed (tuning/README.md), or epoll",
            "locked memory: 64KiB -> 512KiB (LimitMEMLOCK=, ulimit -l)",
            "net.core.rmem_max: 212992 (208KiB) -> 33554432 (32MiB)",
            "net.core.wmem_max: 4194304 (4MiB) -> 8388608 (8MiB)",
            "net.core.netdev_max_backlog: 1000 -> 16384",
            "net.core.somaxconn: 128 -> 4096",
            "net.ipv4.tcp_max_syn_backlog: 256 -> 8192",
            "net.core.busy_poll: 0 -> ok",
            "net.core.busy_read: 0 -> ok",
            "transparent huge pages: never -> madvise",
            "slice of packet threads: 100 us -> ok",
            "kernel: 6.12.0 -> 6.13 or newer",
            "eth0 queues: 4 receive, 4 transmit, mlx5_core, NUMA node 0 -> ok",
            "eth0 RSS of UDP: addresses -> addresses and ports (ethtool -N eth0 rx-flow-hash udp4 sdfn)",
            "eth0 queue 0, IRQ 100: CPU 0 -> ok",
            "eth0 queue 1, IRQ 101: CPU 1 -> ok",
            "eth0 queue 2, IRQ 102: CPU 0-15 -> CPU 2",
            "eth0 queue 3, IRQ 103: CPU 3 -> ok",
            "eth0 queue 0, RPS: off -> ok",
            "eth0 queue 1, RPS: off -> ok",
            "eth0 queue 2, RPS: off -> ok",
            "eth0 queue 3, RPS: off -> ok",
            "eth1 queues: 1 receive, 0 transmit, virtio_net -> ok",
            "irqbalance: runs -> stopped (systemctl disable --now irqbalance)",
        ]
    );
    assert!(rows.iter().all(|row| !row.why.is_empty()));
    let governor = |cpu| {
        format!(
            "sh -c 'echo performance > /sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor'"
        )
    };
    assert_eq!(
        steps(&rows, &machine),
        [
            &governor(0),
            &governor(1),
            &governor(2),
            &governor(3),
            "sysctl -w net.core.rmem_max=33554432",
            "sysctl -w net.core.wmem_max=8388608",
            "sysctl -w net.core.netdev_max_backlog=16384",
            "sysctl -w net.core.somaxconn=4096",
            "sysctl -w net.ipv4.tcp_max_syn_backlog=8192",
            "sh -c 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled'",
            "ethtool -N eth0 rx-flow-hash udp4 sdfn",
            "sh -c 'echo 2 > /proc/irq/102/smp_affinity_list'",
        ]
    );
}

#[test]
fn a_node_cache_leaves_the_machine_alone() {
    let tree = two_sockets();
    let machine = tree.machine();
    let rows = table_of(&machine, Profile::NodeCache);
    let steps = steps(&rows, &machine);
    assert!(
        steps.iter().all(|step| step.starts_with("sysctl -w net.")),
        "{steps:?}"
    );
    assert!(!steps.is_empty());
}

#[test]
fn an_edge_wants_a_queue_for_each_core() {
    let tree = two_sockets();
    let machine = tree.machine();
    let rows = table_of(&machine, Profile::Edge);
    let steps = steps(&rows, &machine);
    assert!(
        steps.contains(&"ethtool -L eth0 combined 16".to_owned()),
        "{steps:?}"
    );
    let queues = rows.iter().find(|row| row.what == "eth0 queues").unwrap();
    assert_eq!(
        queues.should.as_deref(),
        Some("16 of 16 (ethtool -L eth0 combined 16)")
    );
}

#[test]
fn only_commands_that_exist_are_steps() {
    let tree = two_sockets();
    fs::remove_file(tree.root().join("usr/sbin/ethtool")).unwrap();
    fs::remove_file(tree.root().join("usr/sbin/sysctl")).unwrap();
    fs::remove_file(tree.root().join("proc/irq/102/smp_affinity_list")).unwrap();
    let machine = tree.machine();
    let steps = steps(&table_of(&machine, Profile::Edge), &machine);
    assert!(steps.contains(&"sh -c 'echo 4096 > /proc/sys/net/core/somaxconn'".to_owned()));
    assert!(
        !steps
            .iter()
            .any(|step| step.contains("ethtool") || step.contains("irq/102")),
        "{steps:?}"
    );
}

#[test]
fn fewer_queues_than_cores_are_spread_in_software() {
    let tree = two_sockets();
    fs::remove_dir_all(tree.root().join("sys/class/net/eth0")).unwrap();
    let machine = tree.machine();
    let rows = table_of(&machine, Profile::Edge);
    let rps = rows
        .iter()
        .find(|row| row.what == "eth1 queue 0, RPS")
        .unwrap();
    assert_eq!(rps.is, "CPUs 0-1,32");
    assert_eq!(rps.should.as_deref(), Some("CPUs 0-15"));
    assert_eq!(
        rps.steps[0].show(&machine),
        "sh -c 'echo 0000ffff > /sys/class/net/eth1/queues/rx-0/rps_cpus'"
    );
}

/// An ethtool that notes its arguments, or refuses.
fn fake_ethtool(tree: &Tree, body: &str) {
    let path = tree.root().join("usr/sbin/ethtool");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn applying_changes_what_the_table_says_and_then_nothing_is_left() {
    let tree = two_sockets();
    let notes = tree.root().join("notes");
    fake_ethtool(&tree, &format!("echo \"$@\" >> {}", notes.display()));
    let args = ["-profile", "appliance", "-apply"].map(Into::into);
    let exit = run_on(args, || tree.machine());
    assert_eq!(
        (exit.code, exit.stderr.as_str()),
        (0, ""),
        "{}",
        exit.stdout
    );
    assert!(
        exit.stdout
            .contains("sysctl -w net.core.rmem_max=33554432: done\n")
    );
    assert!(exit.stdout.contains("\nirqbalance: left to you: stopped"));
    assert_eq!(tree.read("proc/irq/102/smp_affinity_list"), "2");
    assert_eq!(tree.read("proc/sys/net/core/somaxconn"), "4096");
    assert_eq!(tree.read("notes"), "-N eth0 rx-flow-hash udp4 sdfn");
    let governor = |cpu| {
        tree.read(&format!(
            "sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"
        ))
    };
    assert_eq!(
        (governor(3), governor(4)),
        ("performance".to_owned(), "powersave".to_owned())
    );
    let machine = tree.machine();
    let left = steps(&table_of(&machine, Profile::Appliance), &machine);
    assert_eq!(
        left,
        ["ethtool -N eth0 rx-flow-hash udp4 sdfn"],
        "the fake card cannot learn"
    );
}

#[test]
fn what_is_refused_is_said_and_ends_with_1() {
    let tree = two_sockets();
    fake_ethtool(
        &tree,
        "echo 'netlink error: Operation not permitted' >&2; exit 1",
    );
    let exit = run_on(["--profile=appliance", "--apply"].map(Into::into), || {
        tree.machine()
    });
    assert_eq!(exit.code, 1);
    let expect = "ethtool -N eth0 rx-flow-hash udp4 sdfn: refused: netlink error: Operation not permitted (it needs CAP_NET_ADMIN and a driver that can)\n";
    assert!(exit.stdout.contains(expect), "{}", exit.stdout);
}

#[test]
fn a_dry_run_prints_commands_and_changes_nothing() {
    let tree = two_sockets();
    let machine = tree.machine();
    let exit = run_on(
        ["--profile=appliance", "--apply", "--dry-run"].map(Into::into),
        || tree.machine(),
    );
    let expect = steps(&table_of(&machine, Profile::Appliance), &machine);
    assert_eq!(exit.stdout.lines().collect::<Vec<_>>(), expect);
    assert_eq!(tree.read("proc/irq/102/smp_affinity_list"), "0-15");
    assert_eq!(tree.read("proc/sys/net/core/somaxconn"), "128");
}

#[test]
fn a_machine_that_shows_nothing_is_told() {
    let exit = run_on([], || Tree::new().machine());
    let expect = "no CPU can be seen: are /proc and /sys there?\n";
    assert_eq!((exit.code, exit.stderr.as_str()), (1, expect));
}

#[test]
fn wrong_arguments_are_told() {
    let check = |args: &[&str], code: u8, expect: &str| {
        let args = args.iter().map(Into::into);
        let exit = run_on(args, || panic!("nothing is looked at"));
        assert_eq!((exit.code, exit.stdout.as_str()), (code, ""));
        assert!(exit.stderr.starts_with(expect), "{}", exit.stderr);
    };
    check(&["-h"], 0, "Usage of percoredns tune:\n  -apply\n");
    check(&["now"], 1, "extra command line arguments: [now]\n");
    check(
        &["--profile", "x"],
        2,
        "invalid value \"x\" for flag -profile: use node-cache, edge, appliance or auto\n",
    );
}

#[test]
fn the_profile_that_fits_is_found() {
    let machine = two_sockets().machine();
    let check = |machine: Machine, expect| assert_eq!(Profile::of(&machine).0, expect);
    check(machine.clone(), Profile::Appliance);
    check(
        Machine {
            is_virtual: true,
            ..machine.clone()
        },
        Profile::Edge,
    );
    check(
        Machine {
            nics: Vec::new(),
            ..machine.clone()
        },
        Profile::Edge,
    );
    check(
        Machine {
            quota: Some(8.0),
            ..machine.clone()
        },
        Profile::NodeCache,
    );
    check(
        Machine {
            memory_limit: Some(1 << 30),
            ..machine.clone()
        },
        Profile::NodeCache,
    );
    check(
        Machine {
            allowed: vec![0, 1],
            ..machine
        },
        Profile::NodeCache,
    );
}

#[test]
fn every_profile_is_written_so_that_it_loads() {
    let machine = two_sockets().machine();
    for profile in Profile::ALL {
        let written = profile::write(profile, &machine).unwrap();
        // Huge pages are off here, and the kernel is too old for irq_suspend.
        let lacks = match profile {
            Profile::NodeCache => 0,
            Profile::Edge => 1,
            Profile::Appliance => 2,
        };
        assert_eq!(written.text.matches("Not on this machine").count(), lacks);
        assert!(!written.settings.cores[0].huge_pages, "there are none");
    }
    let appliance = profile::write(Profile::Appliance, &machine).unwrap();
    let queues: Vec<_> = appliance
        .settings
        .cores
        .iter()
        .map(|core| (core.cpu, core.nic_queue))
        .collect();
    assert_eq!(queues, [0, 1, 2, 3].map(|nth| (Some(nth), Some(nth))));
    assert!(appliance.text.contains("# huge_pages = true\n"));
    let quota = Machine {
        quota: Some(1.5),
        ..machine
    };
    let floating = profile::write(Profile::Appliance, &quota).unwrap();
    assert!(
        floating
            .settings
            .cores
            .iter()
            .all(|core| core.cpu.is_none())
    );
    assert!(!floating.text.contains("[[core]]"));
}

#[test]
fn every_profile_of_the_folder_loads_as_it_is() {
    let able = Machine {
        huge_pages: Some("always".to_owned()),
        kernel: "6.13.0".to_owned(),
        ..two_sockets().machine()
    };
    for profile in Profile::ALL {
        let file = crate::tune::TuneFile::parse(profile.name(), profile.text()).unwrap();
        let settings = crate::tune::resolve::resolve(&file, &able, &Default::default()).unwrap();
        assert_eq!(settings.cores.len(), 16);
        let core = settings.cores[0];
        match profile {
            Profile::NodeCache => assert_eq!(settings.cache_octets_max, Some(64 << 20)),
            Profile::Edge => assert!(core.huge_pages && core.busy_poll_us == 0),
            Profile::Appliance => assert!(core.prefer_busy_poll && core.busy_poll_us == 50),
        }
    }
}
