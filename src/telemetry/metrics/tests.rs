//! What a scrape sees of cells, tables, gauges and histograms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn text(registry: &Registry) -> String {
    let mut out = String::new();
    registry.encode(&mut out);
    out
}

#[test]
fn cells_of_one_series_are_summed_and_survive_their_drop() {
    let registry = Registry::new();
    let labels = [("zone", "."), ("server", "dns://:53")];
    let a = registry.counter("t_total", "Help.", &labels);
    let b = registry.counter(
        "t_total",
        "Help.",
        &[("server", "dns://:53"), ("zone", ".")],
    );
    assert_eq!(
        text(&registry),
        "",
        "a labelled series shows from its first increment"
    );
    a.inc();
    b.add(2);
    let expect = "# HELP t_total Help.\n# TYPE t_total counter\nt_total{server=\"dns://:53\",zone=\".\"} 3\n";
    assert_eq!(text(&registry), expect);
    drop(a);
    assert_eq!(text(&registry), expect);
    drop(b);
    assert_eq!(text(&registry), expect);
    let c = registry.counter("t_total", "Help.", &labels);
    c.inc();
    assert_eq!(registry.value("t_total", &labels), Some(4.0));
}

#[test]
fn an_unlabelled_counter_shows_at_zero() {
    let registry = Registry::new();
    let _counter = registry.counter("c_total", "C.", &[]);
    assert!(text(&registry).ends_with("c_total 0\n"));
}

#[test]
fn families_and_series_are_sorted_and_escaped() {
    let registry = Registry::new();
    let second = registry.counter("b_total", "Second\nline \\ \"quoted\".", &[("x", "2")]);
    let first = registry.counter(
        "b_total",
        "ignored: the first help stays",
        &[("x", "1\"\\\n")],
    );
    let other = registry.shared_counter("a_total", "A.", &[]);
    for _ in 0..3 {
        other.clone().inc();
    }
    second.inc();
    first.inc();
    let expect = "# HELP a_total A.\n# TYPE a_total counter\na_total 3\n\
                  # HELP b_total Second\\nline \\\\ \"quoted\".\n# TYPE b_total counter\n\
                  b_total{x=\"1\\\"\\\\\\n\"} 1\nb_total{x=\"2\"} 1\n";
    assert_eq!(text(&registry), expect);
}

#[test]
fn a_table_counts_each_combination() {
    let registry = Registry::new();
    let make = || {
        registry.counter_table(
            "q_total",
            "Q.",
            &[("server", "s")],
            &[
                ("proto", &["udp", "tcp"]),
                ("family", &["1", "2"]),
                ("type", &["A", "AAAA", "other"]),
            ],
        )
    };
    let (a, b) = (make(), make());
    a.inc_at(&[1, 0, 2]);
    b.inc_at(&[1, 0, 2]);
    b.inc(b.at(&[0, 1, 0]));
    b.inc(12);
    b.inc(usize::MAX);
    let expect = "# HELP q_total Q.\n# TYPE q_total counter\n\
                  q_total{family=\"1\",proto=\"tcp\",server=\"s\",type=\"other\"} 2\n\
                  q_total{family=\"2\",proto=\"udp\",server=\"s\",type=\"A\"} 1\n";
    assert_eq!(text(&registry), expect);
    drop((a, b));
    assert_eq!(text(&registry), expect);
}

#[test]
fn gauges_are_summed_and_leave_with_their_cells() {
    let registry = Registry::new();
    let a = registry.gauge("g", "G.", &[("k", "v")]);
    let b = registry.gauge("g", "G.", &[("k", "v")]);
    a.set(1.5);
    b.set(2.0);
    b.add(-0.5);
    assert_eq!(registry.value("g", &[("k", "v")]), Some(3.0));
    drop(a);
    assert_eq!(registry.value("g", &[("k", "v")]), Some(1.5));
    drop(b);
    assert_eq!(text(&registry), "");
}

#[test]
fn a_flag_is_one_while_anyone_holds_it() {
    let registry = Registry::new();
    let old = registry.flag("on", "O.", &[("name", "x")]);
    let new = registry.flag("on", "O.", &[("name", "x")]);
    assert_eq!(registry.value("on", &[("name", "x")]), Some(1.0));
    drop(old);
    assert_eq!(registry.value("on", &[("name", "x")]), Some(1.0));
    drop(new);
    assert_eq!(registry.value("on", &[("name", "x")]), None);
}

#[test]
fn a_gauge_function_is_asked_at_each_scrape() {
    let registry = Registry::new();
    let source = Arc::new(AtomicU64::new(7));
    let read = Arc::clone(&source);
    let guard = registry.gauge_fn("entries", "E.", &[], move || {
        read.load(Ordering::Relaxed) as f64
    });
    assert_eq!(registry.value("entries", &[]), Some(7.0));
    source.store(8, Ordering::Relaxed);
    assert_eq!(registry.value("entries", &[]), Some(8.0));
    drop(guard);
    assert_eq!(registry.value("entries", &[]), None);
}

#[test]
fn a_gauge_function_may_use_the_registry() {
    let registry = Registry::new();
    let inner = registry.clone();
    let _guard = registry.gauge_fn("nested", "N.", &[], move || {
        inner
            .shared_counter("made_in_scrape_total", "M.", &[])
            .inc();
        1.0
    });
    assert!(text(&registry).contains("nested 1\n"));
}

#[test]
fn a_gauge_function_may_hold_what_is_registered() {
    let registry = Registry::new();
    let inner = registry.shared_counter("inner_total", "Help.", &[]);
    let guard = registry.gauge_fn("outer", "Help.", &[], move || {
        inner.inc();
        1.0
    });
    assert_eq!(registry.value("outer", &[]), Some(1.0));
    drop(guard);
    assert_eq!(registry.value("outer", &[]), None);
    assert_eq!(registry.value("inner_total", &[]), Some(1.0));
}

#[test]
fn histograms_are_cumulative_with_go_bounds() {
    let registry = Registry::new();
    let a = registry.histogram("d_seconds", "D.", &[0.00025, 0.0005, 8.192], &[]);
    let b = registry.histogram("d_seconds", "D.", &[0.00025, 0.0005, 8.192], &[]);
    a.observe_ns(250_000); // a bound belongs to its bucket
    a.observe_ns(250_001);
    b.observe(9.0);
    b.observe(-1.0);
    let expect = "# HELP d_seconds D.\n# TYPE d_seconds histogram\n\
                  d_seconds_bucket{le=\"0.00025\"} 2\nd_seconds_bucket{le=\"0.0005\"} 3\n\
                  d_seconds_bucket{le=\"8.192\"} 3\nd_seconds_bucket{le=\"+Inf\"} 4\n\
                  d_seconds_sum 9.000500001\nd_seconds_count 4\n";
    assert_eq!(text(&registry), expect);
    drop((a, b));
    assert_eq!(text(&registry), expect);
}

#[test]
fn sizes_are_whole_numbers() {
    let registry = Registry::new();
    let sizes =
        registry.size_histogram("s_bytes", "S.", &[0.0, 100.0, 511.0, 16e3], &[("p", "udp")]);
    assert_eq!(text(&registry), "");
    sizes.observe(0);
    sizes.observe(511);
    sizes.observe(512);
    let expect = "# HELP s_bytes S.\n# TYPE s_bytes histogram\n\
                  s_bytes_bucket{p=\"udp\",le=\"0\"} 1\ns_bytes_bucket{p=\"udp\",le=\"100\"} 1\n\
                  s_bytes_bucket{p=\"udp\",le=\"511\"} 2\ns_bytes_bucket{p=\"udp\",le=\"16000\"} 3\n\
                  s_bytes_bucket{p=\"udp\",le=\"+Inf\"} 3\ns_bytes_sum{p=\"udp\"} 1023\ns_bytes_count{p=\"udp\"} 3\n";
    assert_eq!(text(&registry), expect);
}

#[test]
fn the_process_registry_describes_the_build_and_the_process() {
    panics();
    let out = text(registry());
    assert!(out.contains("coredns_build_info{goversion=\"rust"), "{out}");
    assert!(out.contains("\ncoredns_panics_total "), "{out}");
    assert!(
        out.contains("# TYPE process_cpu_seconds_total counter\n"),
        "{out}"
    );
    let names: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn counters_of_many_threads_add_up() {
    let registry = Registry::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let counter = registry.counter("n_total", "N.", &[("a", "b")]);
            std::thread::spawn(move || (0..1000).for_each(|_| counter.inc()))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(registry.value("n_total", &[("a", "b")]), Some(4000.0));
}
