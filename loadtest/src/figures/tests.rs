use super::*;
use crate::compare::findings::{EntryMemory, Loading, Overload};
use crate::compare::rates::{Label, Origin};
use crate::compare::result::Key;
use crate::compare::sample::Sample;

fn add(table: &mut Table, label: Label, sources: usize, server: &str, cpu_us: f64, tail_us: f64) {
    let key = Key {
        scenario: Scenario::find("zone").unwrap(),
        label,
        sources,
        server: server.to_owned(),
    };
    let sample = Sample {
        cpu_us,
        machine_us: 3.0,
        offered_per_s: 1000.0,
        answers_per_s: 1000.0,
        loss: 0.0,
        wrong: 0.0,
        latency_us: [1.0, 2.0, 3.0, tail_us, tail_us],
        reply_bytes: 60.0,
        upstream: 0.0,
        foreign: 0.0,
    };
    table.add(key, 0, 0.05, sample);
}

fn find<'a>(figures: &'a [Figure], what: &str, detail: &str) -> &'a Figure {
    figures
        .iter()
        .find(|f| f.bar.what.contains(what) && f.detail.contains(detail))
        .unwrap_or_else(|| panic!("no figure {what} {detail}"))
}

#[test]
fn ratios_are_judged_for_each_number_of_sources() {
    let mut table = Table::default();
    let max = Label::given(Rate::Max);
    for (sources, own) in [(8, 2.1), (256, 2.5)] {
        add(&mut table, max, sources, "echo", 2.0, 1.0);
        add(&mut table, max, sources, "nsd", 2.5, 1.0);
        add(&mut table, max, sources, "percoredns", own, 1.0);
    }
    let figures = evaluate::evaluate(&table, &Bench::without("no cargo"));
    let verdict = |what, detail| find(&figures, what, detail).verdict();
    assert_eq!(
        verdict("zone, saturation, against the echo", "8 sources"),
        Verdict::Met
    );
    assert_eq!(
        verdict("zone, saturation, against the echo", "256"),
        Verdict::Missed
    );
    assert_eq!(
        verdict("zone, saturation, against NSD", "8 sources"),
        Verdict::Met
    );
    assert_eq!(
        verdict("zone, saturation, against NSD", "256"),
        Verdict::Missed
    );
    assert_eq!(
        verdict("zone, 30,000/s, against NSD", ""),
        Verdict::Unmeasured
    );
    assert_eq!(find(&figures, "instructions", "").measured(), "no cargo");
    let text = render(&figures);
    assert!(text.contains("1.05x") && text.contains("MISSED"), "{text}");
    assert!(
        json(&table, &figures)
            .to_string()
            .contains("\"verdict\":\"met\"")
    );
}

#[test]
fn a_tail_is_held_against_the_best_rival_at_the_same_rate() {
    let mut table = Table::default();
    let knee = Label {
        rate: Rate::Fixed(90_000),
        origin: Origin::HalfKnee,
    };
    for (server, tail_us) in [
        ("echo", 1.0),
        ("nsd", 900.0),
        ("knotd", 500.0),
        ("percoredns", 300.0),
    ] {
        add(&mut table, knee, 8, server, 2.0, tail_us);
    }
    add(&mut table, Label::given(Rate::Max), 8, "knotd", 2.0, 7.0);
    let figures = evaluate::evaluate(&table, &Bench::default());
    let tail = find(&figures, "knee, zone", "knotd 500 us");
    assert_eq!(tail.verdict(), Verdict::Missed);
    assert_eq!(tail.value.unwrap().median, 0.6);
}

#[test]
fn memory_loading_and_overload() {
    let mut table = Table::default();
    for (server, start_ms, memory) in [("nsd", 1300.0, 300e6), ("percoredns", 600.0, 100e6)] {
        table.loading.push(Loading {
            scenario: "zone-1m",
            server: server.into(),
            names: 1_000_000,
            start_ms: vec![start_ms, start_ms * 1.1, start_ms * 0.9],
            memory_bytes: vec![memory],
        });
    }
    table.memory.push(EntryMemory {
        scenario: "cached-1m",
        server: "percoredns".into(),
        entries: 1_000_000,
        rss_bytes: [10 << 20, 400 << 20],
    });
    table.overload.push(Overload {
        scenario: "cached",
        server: "percoredns".into(),
        peak: 1000.0,
        asked: 3000.0,
        offered: 2900.0,
        answered: 940.0,
        rss_bytes: [100, 105],
        servfails: 1,
    });
    let figures = evaluate::evaluate(&table, &Bench::default());
    let verdict = |what| find(&figures, what, "").verdict();
    assert_eq!(verdict("start to first answer"), Verdict::Met);
    assert_eq!(verdict("memory of all processes"), Verdict::Met);
    assert_eq!(verdict("memory per cached entry"), Verdict::Missed);
    assert_eq!(verdict("answered share of the peak"), Verdict::Missed);
    assert_eq!(verdict("RSS after"), Verdict::Met);
    assert_eq!(verdict("SERVFAIL"), Verdict::Missed);
}

#[test]
fn the_plan_holds_what_every_bar_needs() {
    let base = crate::cli::compare_defaults().unwrap();
    for quick in [false, true] {
        let plan = plan(&base, quick).unwrap();
        let has = |check: &dyn Fn(&Options) -> bool| plan.iter().any(|(_, options)| check(options));
        let runs = |o: &Options, name: &str| o.scenarios.iter().any(|s| s.name == name);
        assert!(has(
            &|o| runs(o, "zone") && o.sources == [FEW_SOURCES, SPREAD_SOURCES]
        ));
        assert!(
            has(&|o| o.asks.contains(&Ask::HalfKnee)) && has(&|o| o.asks.contains(&Ask::Sweep))
        );
        assert!(has(&|o| o.silent_s > 0.0 && o.asks.contains(&Ask::Overload)));
        assert!(has(&|o| runs(o, "hot-1src") && o.cores == [1, 2]));
        assert!(has(&|o| runs(o, "zone-1m") && o.starts > 0) && has(&|o| runs(o, "cached-1m")));
    }
}
