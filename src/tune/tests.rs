//! Settings files, each key good and bad, on the machine of `machine::tests` and on this one.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::machine::tests::two_sockets;
use super::resolve::{Wishes, misplaced_interrupts, resolve};
use super::*;
use crate::limits;
use crate::runtime::{Backend, Wish};

/// The machine of two sockets; its files are gone.
fn lacking() -> Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| two_sockets().machine()).clone()
}

/// The machine of two sockets with what its tests lack: io_uring, huge pages and CAP_SYS_NICE.
fn able() -> Machine {
    Machine {
        io_uring: Ok(()),
        huge_pages: Some("madvise".to_owned()),
        nice_min: -20,
        kernel: "6.13.1-generic".to_owned(),
        ..lacking()
    }
}

fn settings_on(machine: &Machine, text: &str) -> Result<Settings, String> {
    let file = TuneFile::parse("t.toml", text)?;
    resolve(&file, machine, &Wishes::default())
}

fn settings(text: &str) -> Settings {
    settings_on(&able(), text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[track_caller]
fn check_error(machine: &Machine, text: &str, expect: &str) {
    let error = settings_on(machine, text).unwrap_err();
    assert!(
        error.starts_with(expect),
        "{error}\nexpected: {expect}\n{text}"
    );
}

#[test]
fn an_empty_file_changes_nothing() {
    let machine = able();
    let settings = settings_on(&machine, "# nothing\n[global]\n").unwrap();
    let plan = crate::runtime::cores::plan_for(&machine.allowed, None, None).unwrap();
    assert_eq!(settings, Settings::of_plan(&plan, Backend::Glommio));
    let refused = lacking();
    assert_eq!(
        settings_on(&refused, "").unwrap().cores[0].backend,
        Backend::Epoll
    );
}

#[test]
fn each_key_of_a_core_is_taken() {
    #[track_caller]
    fn check(line: &str, change: fn(&mut CoreSettings)) {
        let plain = settings("").cores;
        let mut want = plain.clone();
        want.iter_mut().for_each(change);
        assert_eq!(
            settings(&format!("[global]\n{line}\n")).cores,
            want,
            "{line}"
        );
        let mut want = plain;
        change(&mut want[3]);
        let text = format!("[[core]]\nindex = 3\n{line}\n");
        assert_eq!(settings(&text).cores, want, "{line}");
    }
    check("backend = \"epoll\"", |core| core.backend = Backend::Epoll);
    check("backend = \"auto\"", |core| core.backend = Backend::Glommio);
    check("batch_len = 16", |core| core.batch_len = 16);
    check("udp_receive_buffer = 1_048_576", |core| {
        core.udp_receive_buffer_octets = 1 << 20;
    });
    check("udp_receive_buffer = \"8MiB\"", |core| {
        core.udp_receive_buffer_octets = 8 << 20;
    });
    check("udp_send_buffer = \"512 KiB\"", |core| {
        core.udp_send_buffer_octets = Some(512 << 10);
    });
    check("busy_poll = \"50us\"", |core| core.busy_poll_us = 50);
    check("busy_poll = \"1us\"\nbusy_poll_budget = 64", |core| {
        (core.busy_poll_us, core.busy_poll_budget) = (1, 64);
    });
    check("busy_poll = \"1us\"\nprefer_busy_poll = true", |core| {
        (core.busy_poll_us, core.prefer_busy_poll) = (1, true);
    });
    check("busy_poll = \"1us\"\nirq_suspend = \"20ms\"", |core| {
        (core.busy_poll_us, core.irq_suspend_ns) = (1, 20_000_000);
    });
    check("gso = false", |core| core.gso = false);
    check("huge_pages = true", |core| core.huge_pages = true);
    check("cache_share = 3", |core| core.cache_share = 3);
    check("parked_max = 100", |core| {
        (core.parked_max, core.upstream_in_flight_max) = (100, 100);
    });
    check("tcp_connections_max = 0x10", |core| {
        core.tcp_connections_max = 16
    });
    check("upstream_in_flight_max = 7", |core| {
        core.upstream_in_flight_max = 7
    });
    check("upstream_idle_max = 5", |core| core.upstream_idle_max = 5);
    check("nice = -5", |core| core.nice = -5);
    check("slice = \"3ms\"", |core| core.slice_ns = 3_000_000);
    check("slice = \"0s\"", |core| core.slice_ns = 0);
}

#[test]
fn keys_of_the_process_are_taken() {
    let settings = settings(
        "[global]\ncpus = \"4-7\"\nnic = \"eth1\"\ncache_snapshot = \"cache.bin\"\ncache_snapshot_interval = \"5m\"\n\
         kubernetes_snapshot = \"kube\"\nkubernetes_snapshot_interval = \"30s\"\n\
         cache_octets_max = \"256MiB\"\nnuma_node = 1\nacme_challenge = \"tls-alpn-01\"\nddr = \"dns.example.org\"\n\
         doh_json = true\ndoh_trusted_proxies = [\"10.0.0.0/8\", \"::1/128\"]\n",
    );
    assert!(settings.doh_json);
    let trusts = |addr: &str| settings.doh_trusted_proxies.contains(addr.parse().unwrap());
    assert_eq!(
        ["10.1.1.1", "::1", "192.0.2.1"].map(trusts),
        [true, true, false]
    );
    assert_eq!(settings.acme_challenge, AcmeChallenge::TlsAlpn01);
    assert_eq!(settings.ddr.as_deref(), Some("dns.example.org"));
    let cpus: Vec<Option<u32>> = settings.cores.iter().map(|core| core.cpu).collect();
    assert_eq!(cpus, [4, 5, 6, 7].map(Some));
    assert_eq!(settings.nic.as_deref(), Some("eth1"));
    assert_eq!(settings.cache_snapshot, Some(PathBuf::from("cache.bin")));
    assert_eq!(settings.cache_snapshot_interval, Duration::from_secs(300));
    assert_eq!(settings.kubernetes_snapshot, Some(PathBuf::from("kube")));
    assert_eq!(
        settings.kubernetes_snapshot_interval,
        Duration::from_secs(30)
    );
    assert_eq!(settings.cache_octets_max, Some(256 << 20));
    assert!(settings.cores.iter().all(|core| core.numa_node == Some(1)));
}

#[test]
fn keys_of_upstreams_are_taken() {
    let pin = format!("{}=", "A".repeat(43));
    let text = |rows: &str| format!("[global]\nupstream_pins = {rows}\n");
    let pins = settings(&text(&format!(
        "{{ \"9.9.9.9\" = [\"{pin}\"], \"2001:db8::1\" = [\"{pin}\", \"{pin}\"] }}"
    )))
    .upstream_pins;
    let counts = pins.iter().map(|(to, pins)| (to.to_string(), pins.len()));
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [("9.9.9.9".into(), 1), ("2001:db8::1".into(), 2)]
    );
    for (rows, want) in [
        ("7", "must be keys of upstreams"),
        ("{ \"9.9.9.9\" = \"x\" }", "not a value of the kind table"),
        (
            "{ \"dns.example\" = [\"x\"] }",
            "is no address of an upstream",
        ),
        ("{ \"9.9.9.9\" = [] }", "9.9.9.9 must have 1 to 16 keys"),
        ("{ \"9.9.9.9\" = [\"AAAA\"] }", "44 characters: \"AAAA\""),
    ] {
        let error = TuneFile::parse("tune.toml", &text(rows)).err().unwrap();
        assert!(
            error.starts_with("tune.toml:2 - upstream_pins: "),
            "{error}"
        );
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn upstreams_that_are_told_of_clients_are_taken() {
    let text = |list: &str| format!("[global]\nupstream_proxy_protocol = {list}\n");
    let taken = settings(&text(
        "[\"10.0.0.53\", \"10.0.0.53:5353\", \"[2001:db8::1]:853\", \"fe80::1%7\"]",
    ));
    let mut told = [
        "10.0.0.53:53",
        "10.0.0.53:5353",
        "[2001:db8::1]:853",
        "[fe80::1%9]:53",
    ]
    .map(|addr| addr.parse().unwrap())
    .into_iter();
    assert!(told.all(|addr| taken.tells_clients(addr)));
    for other in ["10.0.0.53:853", "10.0.0.54:53", "[2001:db8::1]:53"] {
        assert!(!taken.tells_clients(other.parse().unwrap()), "{other}");
    }
    for (list, want) in [
        ("7", "must be at most 4096 upstreams like"),
        ("[\"dns.example\"]", "\"dns.example\" is no address"),
        ("[\"10.0.0.53:x\"]", "\"10.0.0.53:x\" is no address"),
    ] {
        let error = TuneFile::parse("tune.toml", &text(list)).err().unwrap();
        let place = "tune.toml:2 - upstream_proxy_protocol: ";
        assert!(error.starts_with(place) && error.contains(want), "{error}");
    }
}

#[test]
fn a_node_for_all_chooses_its_cpus() {
    let cores = settings("[global]\nnuma_node = 0\n").cores;
    let cpus: Vec<Option<u32>> = cores.iter().map(|core| core.cpu).collect();
    assert_eq!(cpus, [0, 1, 2, 3, 8, 9, 10, 11].map(Some));
    let quota = Machine {
        quota: Some(1.5),
        ..able()
    };
    let cores = settings_on(&quota, "[global]\nnuma_node = 0\n")
        .unwrap()
        .cores;
    assert_eq!(cores.len(), 2);
    assert!(
        cores
            .iter()
            .all(|core| core.cpu.is_none() && core.numa_node == Some(0))
    );
}

#[test]
fn later_tables_override_earlier_ones() {
    let cores = settings(
        "[global]\nparked_max = 100\n[[core]]\ncpus = \"0-1,15\"\nparked_max = 200\nbatch_len = 8\n[[core]]\nindex = 1\nparked_max = 300\n\
         [[core]]\nindex = 0\ncpu = 0\nnic_queue = 2\n[[core]]\ncpus = \"2\"\nbackend = \"epoll\"\n[global.x]\n"
            .trim_end_matches("[global.x]\n")
            .replace("[global]\n", "[global]\nnic = \"eth0\"\n")
            .as_str(),
    )
    .cores;
    let parked: Vec<usize> = [0, 1, 2, 15].map(|nth| cores[nth].parked_max).into();
    assert_eq!(parked, [200, 300, 100, 200]);
    assert_eq!((cores[1].batch_len, cores[2].batch_len), (8, limits::BATCH));
    assert_eq!((cores[0].nic_queue, cores[1].nic_queue), (Some(2), None));
    assert_eq!(cores[2].backend, Backend::Epoll);
}

#[test]
fn values_out_of_bounds_name_line_key_and_bounds() {
    #[track_caller]
    fn check(line: &str, expect: &str) {
        check_error(
            &able(),
            &format!("[global]\n\n{line}\n"),
            &format!("t.toml:3 - {expect}"),
        );
    }
    check(
        "backend = \"x\"",
        "backend: unknown backend 'x': use auto, glommio or epoll",
    );
    check(
        "backend = 1",
        "backend: must be auto, glommio or epoll in quotes, not 1",
    );
    check(
        "acme_challenge = \"dns\"",
        "acme_challenge: must be dns-01, http-01 or tls-alpn-01 in quotes, not \"dns\"",
    );
    check(
        "acme_challenge = 1",
        "acme_challenge: must be dns-01, http-01 or tls-alpn-01 in quotes, not 1",
    );
    check(
        "batch_len = 0",
        "batch_len: must be a whole number from 1 to 64, not 0",
    );
    check(
        "batch_len = 65",
        "batch_len: must be a whole number from 1 to 64, not 65",
    );
    check(
        "batch_len = \"8\"",
        "batch_len: must be a whole number from 1 to 64, not \"8\"",
    );
    check(
        "batch_len = 1.5",
        "batch_len: must be a whole number from 1 to 64, not a value of the kind float",
    );
    check("batch_len = 99999999999999999999", "batch_len: must be");
    check(
        "busy_poll = 50",
        "busy_poll: must be a duration from \"0s\" to \"10ms\", not 50",
    );
    check("busy_poll = \"1s\"", "busy_poll: must be a duration");
    check("busy_poll = \"-1us\"", "busy_poll: must be a duration");
    check(
        "busy_poll_budget = 65",
        "busy_poll_budget: must be a whole number from 1 to 64",
    );
    check(
        "prefer_busy_poll = 1",
        "prefer_busy_poll: must be true or false, not 1",
    );
    check(
        "irq_suspend = \"1s\"",
        "irq_suspend: must be a duration from \"0s\" to \"100ms\"",
    );
    check("gso = \"no\"", "gso: must be true or false, not \"no\"");
    check(
        "huge_pages = []",
        "huge_pages: must be true or false, not []",
    );
    check(
        "cache_share = 0",
        "cache_share: must be a whole number from 1 to 1000",
    );
    check(
        "parked_max = 40000",
        "parked_max: must be a whole number from 1 to 32768",
    );
    check(
        "tcp_connections_max = -1",
        "tcp_connections_max: must be a whole number from 1 to 32768",
    );
    check(
        "upstream_in_flight_max = 0",
        "upstream_in_flight_max: must be a whole number from 1 to",
    );
    check(
        "upstream_idle_max = 20000",
        "upstream_idle_max: must be a whole number from 1 to 16384",
    );
    check(
        "udp_receive_buffer = 1",
        "udp_receive_buffer: must be octets from 64KiB to 512MiB",
    );
    check(
        "udp_send_buffer = \"1GB\"",
        "udp_send_buffer: must be octets from 64KiB to 512MiB, as a number or like \"4MiB\", not \"1GB\"",
    );
    check("nice = 20", "nice: must be a whole number from -20 to 19");
    check(
        "slice = \"99us\"",
        "slice: \"99us\" is shorter than the kernel grants: \"100us\" is the least",
    );
    check(
        "slice = \"101ms\"",
        "slice: must be a duration from \"0s\" to \"100ms\", not \"101ms\"",
    );
    check(
        "numa_node = -1",
        "numa_node: must be a whole number from 0 to 1023",
    );
    check(
        "nic = \"\"",
        "nic: must be the name of a network card in quotes",
    );
    check(
        "cpus = 3",
        "cpus: must be a list of CPUs like \"0-3,8\" in quotes, not 3",
    );
    check(
        "cache_snapshot = true",
        "cache_snapshot: must be the path of a file in quotes",
    );
    check(
        "cache_snapshot_interval = \"1s\"",
        "cache_snapshot_interval: must be a duration from \"10s\" to \"24h0m0s\"",
    );
    check(
        "cache_octets_max = \"1KiB\"",
        "cache_octets_max: must be octets from 1MiB to 1TiB",
    );
    check(
        "doh_trusted_proxies = \"10.0.0.0/8\"",
        "doh_trusted_proxies: must be at most 4096 networks like [\"10.0.0.0/8\"], not \"10.0.0.0/8\"",
    );
    check(
        "doh_trusted_proxies = [\"10.0.0.1\"]",
        "doh_trusted_proxies: must be networks like [\"10.0.0.0/8\"]: invalid CIDR address: 10.0.0.1",
    );
    check(
        "doh_trusted_proxies = [1]",
        "doh_trusted_proxies: must be at most 4096 networks like [\"10.0.0.0/8\"], not a value of the kind array of other than text",
    );
}

#[test]
fn what_is_no_settings_file_is_refused_with_the_line() {
    #[track_caller]
    fn check(text: &str, expect: &str) {
        check_error(&able(), text, expect);
    }
    check("[global]\nbatch_len = \n", "t.toml:2 - ");
    check(
        "[global]\n\nbatch_len = 1\nbatch_len = 2\n",
        "t.toml:4 - duplicate key",
    );
    check(
        "\nbatch_len = 1\n",
        "t.toml:2 - batch_len: belongs below [global]",
    );
    check(
        "\n[cores]\n",
        "t.toml:2 - cores: unknown; a settings file has [global] and [[core]]",
    );
    check("global = 1\n", "t.toml:1 - global: unknown");
    check("[core]\nindex = 0\n", "t.toml:1 - core: write [[core]]");
    check("core = [1]\n", "t.toml:1 - core: write [[core]]");
    check(
        "[global]\nbatch_length = 1\n",
        "t.toml:2 - batch_length: unknown key; is batch_len meant?",
    );
    check(
        "[global]\nfrobnicate_all = 1\n",
        "t.toml:2 - frobnicate_all: unknown key; there are acme_challenge, backend, batch_len, ",
    );
    check(
        "[global]\ncpu = 1\n",
        "t.toml:2 - cpu: belongs below a [[core]]",
    );
    check(
        "[[core]]\nindex = 0\ncache_snapshot = \"x\"\n",
        "t.toml:3 - cache_snapshot: belongs below [global]",
    );
    check("\n[[core]]\nnice = 1\n", "t.toml:2 - core: needs index = n");
    check(
        "[[core]]\ncpus = \"0\"\nindex = 1\n",
        "t.toml:3 - index: a [[core]] has index or cpus, not both",
    );
    check(
        "[[core]]\nindex = -1\n",
        "t.toml:2 - index: must be a whole number from 0 to 8191",
    );
    check("[global]\nx.y = 1\n", "t.toml:2 - x: unknown key");
}

#[test]
fn what_the_machine_lacks_is_refused_with_the_line_and_a_remedy() {
    #[track_caller]
    fn check(text: &str, expect: &str) {
        check_error(&lacking(), text, expect);
    }
    check(
        "[[core]]\nindex = 1\nbackend = \"glommio\"\n",
        "t.toml:3 - backend: glommio cannot run here: io_uring_setup is refused by a seccomp profile; or say \"auto\"",
    );
    check(
        "[global]\ncpus = \"0-16\"\n",
        "t.toml:2 - cpus: CPU 16 is not one that this process may use (0-15)",
    );
    check(
        "[global]\ncpus = \"3-1\"\n",
        "t.toml:2 - cpus: the range '3-1' in '3-1' runs backwards",
    );
    check(
        "[[core]]\nindex = 16\n",
        "t.toml:1 - index: there is no core 16: 16 run here, counted from 0",
    );
    check(
        "[[core]]\ncpus = \"16\"\n",
        "t.toml:1 - cpus: CPU 16 is not one that",
    );
    check(
        "[[core]]\nindex = 0\ncpu = 99\n",
        "t.toml:3 - cpu: CPU 99 is not one that this process may use (0-15)",
    );
    check(
        "[[core]]\nindex = 0\ncpu = 1\n",
        "t.toml:3 - cpu: two cores are told to run on CPU 1",
    );
    check(
        "[global]\nnuma_node = 2\n",
        "t.toml:2 - numa_node: this machine has no NUMA node 2 with CPUs: it has 0-1",
    );
    check(
        "[[core]]\nindex = 5\nnuma_node = 0\n",
        "t.toml:3 - numa_node: CPU 5 is part of node 1, not of 0: leave numa_node out",
    );
    check(
        "[global]\nnic = \"eth9\"\n",
        "t.toml:2 - nic: no network card 'eth9' is up here; there is eth0, eth1",
    );
    check(
        "[[core]]\nindex = 0\nnic_queue = 0\n",
        "t.toml:3 - nic_queue: of which network card?",
    );
    check(
        "[global]\nnic = \"eth0\"\n[[core]]\nindex = 0\nnic_queue = 4\n",
        "t.toml:5 - nic_queue: eth0 has no receive queue 4: it has 4, counted from 0 (more: ethtool -L eth0 combined N)",
    );
    check(
        "[global]\nnic = \"eth0\"\n[[core]]\ncpus = \"0-1\"\nnic_queue = 2\n",
        "t.toml:5 - nic_queue: two cores are told to take queue 2",
    );
    check(
        "[global]\nhuge_pages = true\n",
        "t.toml:2 - huge_pages: transparent huge pages are off here: echo madvise >",
    );
    check(
        "[global]\nnice = -1\n",
        "t.toml:2 - nice: -1 is refused without CAP_SYS_NICE",
    );
    check(
        "[global]\ncache_snapshot = \"/none/cache\"\n",
        "t.toml:2 - cache_snapshot: there is no folder ",
    );
    check(
        "[global]\ncache_snapshot = \"/\"\n",
        "t.toml:2 - cache_snapshot: ",
    );
    check(
        "[global]\ncache_octets_max = \"100GiB\"\n",
        "t.toml:2 - cache_octets_max: \"100GiB\" is more than the 64000 MiB of memory here",
    );
    check(
        "[global]\nirq_suspend = \"1ms\"\n",
        "t.toml:2 - irq_suspend: only Linux 6.13 and newer can keep interrupts off, and this is 6.12.0: leave it out",
    );
    let old = Machine {
        kernel: "6.8.0".to_owned(),
        ..lacking()
    };
    for line in ["busy_poll = \"1us\"", "prefer_busy_poll = true"] {
        let name = line.split(' ').next().unwrap_or_default();
        let expect =
            format!("t.toml:2 - {name}: before Linux 6.9 (here: 6.8.0) only CAP_NET_ADMIN");
        check_error(&old, &format!("[global]\n{line}\n"), &expect);
    }
    check_error(
        &old,
        "[global]\nslice = \"0s\"\n[[core]]\nindex = 0\nslice = \"1ms\"\n",
        "t.toml:5 - slice: only Linux 6.12 and newer give a thread a slice of its own, and this is 6.8.0: leave it out",
    );
    check(
        "[global]\nparked_max = 10\nupstream_in_flight_max = 11\n",
        "t.toml:3 - upstream_in_flight_max: 11 exchanges do not fit 10 waiting queries: raise parked_max",
    );
    let floats = Machine {
        quota: Some(1.5),
        ..able()
    };
    check_error(
        &floats,
        "\n[[core]]\ncpus = \"0\"\n",
        "t.toml:2 - cpus: the cores float here",
    );
}

#[test]
fn how_to_poll_is_refused_where_nothing_polls() {
    for line in [
        "busy_poll_budget = 8",
        "prefer_busy_poll = true",
        "irq_suspend = \"1ms\"",
    ] {
        let key = line.split(' ').next().unwrap_or_default();
        let reason = format!(
            "{key}: it is about busy polling, and busy_poll is \"0s\" there: set busy_poll"
        );
        for (text, at) in [
            (format!("[global]\n{line}\n"), 2),
            (format!("[global]\nbusy_poll = \"0s\"\n{line}\n"), 3),
            (
                format!(
                    "[global]\nbusy_poll = \"9us\"\n[[core]]\nindex = 1\nbusy_poll = \"0s\"\n{line}\n"
                ),
                6,
            ),
        ] {
            check_error(&able(), &text, &format!("t.toml:{at} - {reason}"));
        }
        // Said for all, of use to some.
        for text in [
            format!("[global]\n{line}\n[[core]]\nindex = 0\nbusy_poll = \"9us\"\n"),
            format!(
                "[global]\nbusy_poll = \"9us\"\n{line}\n[[core]]\nindex = 0\nbusy_poll = \"0s\"\n"
            ),
        ] {
            settings(&text);
        }
    }
    settings("[global]\nprefer_busy_poll = false\nirq_suspend = \"0s\"\n");
}

#[test]
fn a_flag_and_the_file_must_not_say_the_same() {
    let check = |text: &str, wishes: Wishes, expect: &str| {
        let file = TuneFile::parse("t.toml", text).unwrap();
        let error = resolve(&file, &able(), &wishes).unwrap_err();
        assert!(error.starts_with(expect), "{error}");
    };
    let cores = Wishes {
        cores: Some("0".to_owned()),
        ..Wishes::default()
    };
    check(
        "[global]\ncpus = \"1\"\n",
        cores,
        "t.toml:2 - cpus: -cores 0 says the same",
    );
    let backend = Wishes {
        backend: Wish::Epoll,
        ..Wishes::default()
    };
    check(
        "[global]\nbackend = \"auto\"\n",
        backend,
        "t.toml:2 - backend: -runtime says the same",
    );
}

#[test]
fn interrupts_on_another_cpu_are_explained() {
    let text = "[global]\nnic = \"eth0\"\ncpus = \"0-3\"\n".to_owned()
        + &(0..4)
            .map(|nth| format!("[[core]]\nindex = {nth}\nnic_queue = {nth}\n"))
            .collect::<String>();
    let lines = misplaced_interrupts(&settings(&text), &able());
    assert_eq!(
        lines,
        [
            "queue 2 of eth0 interrupts CPU 0-15 (IRQ 102) but its core 2 runs on CPU 2: echo 2 > /proc/irq/102/smp_affinity_list, or percoredns tune --apply"
        ]
    );
    assert_eq!(
        misplaced_interrupts(&settings(""), &able()),
        Vec::<String>::new()
    );
}

#[test]
fn any_text_gives_settings_or_one_line() {
    let pieces = [
        "[global]\n",
        "[[core]]\n",
        "index = 0\n",
        "cpus = \"0\"\n",
        "nice = 1\n",
        "= ",
        "\"",
        "\n",
        "core = {}\n",
        "[",
        "]",
        "\u{fc}",
        "a.b=1\n",
    ];
    let mut seed = 1u32;
    let machine = able();
    for _ in 0..2_000 {
        let mut text = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text += pieces[(seed >> 16) as usize % pieces.len()];
        }
        if let Err(error) = settings_on(&machine, &text) {
            assert!(error.starts_with("t.toml:"), "{error}\n{text}");
        }
    }
}
