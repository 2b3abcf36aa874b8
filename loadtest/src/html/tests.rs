use super::*;
use crate::compare::findings::{EntryMemory, Loading, Overload, Scaling, Silence};
use crate::compare::profile::Profile;
use crate::compare::rates::{self, Label};
use crate::compare::result::Key;
use crate::compare::sample::Sample;
use crate::figures::bench::Bench;
use crate::figures::evaluate::evaluate;
use crate::pace::Rate;
use crate::scenario::Scenario;

fn table() -> Table {
    let mut table = Table::default();
    let mut labels = vec![Label::given(Rate::Max), Label::given(Rate::Fixed(30_000))];
    labels.extend(rates::sweep(300_000.0));
    for label in labels {
        for (server, cpu_us) in [("echo", 2.0), ("nsd", 3.0), ("percoredns", 2.5)] {
            let key = Key {
                scenario: Scenario::find("zone").unwrap(),
                label,
                sources: 8,
                server: server.into(),
            };
            let sample = Sample {
                cpu_us,
                machine_us: 4.0,
                offered_per_s: label.order().1 as f64,
                answers_per_s: label.order().1 as f64 * 0.9,
                loss: 0.1,
                wrong: 0.0,
                latency_us: [50.0, 90.0, 400.0 * cpu_us, 800.0 / cpu_us, 2000.0],
                reply_bytes: 60.0,
                upstream: 0.0,
                foreign: 0.0,
            };
            table.add(key, 0, 0.05, sample);
        }
    }
    table.memory.push(EntryMemory {
        scenario: "cached-1m",
        server: "percoredns".into(),
        entries: 1000,
        rss_bytes: [0, 150_000],
    });
    table.loading.push(Loading {
        scenario: "zone-1m",
        server: "nsd".into(),
        names: 10,
        start_ms: vec![10.0, 12.0],
        memory_bytes: vec![1e6],
    });
    table.overload.push(Overload {
        scenario: "cached",
        server: "percoredns".into(),
        peak: 100.0,
        asked: 300.0,
        offered: 250.0,
        answered: 99.0,
        rss_bytes: [1, 1],
        servfails: 0,
    });
    table.silence.push(Silence {
        server: "percoredns".into(),
        flood_per_s: 15_000.0,
        cached: [10, 10],
        mean_us: [1.0, 1.0, 1.0],
        rss_bytes: [0, 1 << 20],
    });
    for cores in [1, 2] {
        table.scaling.push(Scaling {
            scenario: "zone",
            server: "percoredns".into(),
            cores,
            answers_per_s: vec![100.0 * cores as f64],
            left_cores: vec![0.6 * cores as f64],
            busiest: vec![0.5],
            void: vec![false],
        });
    }
    table.note("<script>alert('&')</script>".into());
    table
}

#[test]
fn text_is_escaped() {
    assert_eq!(
        escape("<a href=\"x\">'&'"),
        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;"
    );
    let html = page("a < b", &table(), &[]);
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
    assert!(html.contains("<h1>a &lt; b</h1>"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_has_every_part() {
    let table = table();
    let html = page("t", &table, &evaluate(&table, &Bench::without("no cargo")));
    for part in ["http:", "https:", "src=", "href=", "url(", "@import", "NaN"] {
        assert!(!html.contains(part), "{part}");
    }
    for part in [
        "Figures against their bars",
        "Answered against offered",
        "Latency percentiles",
        "CPU per answer, against the echo",
        "Memory per cached entry",
        "Loading",
        "From one core to several",
        "Three times the peak",
        "Silent upstream",
        "Against each rival",
        "Everything measured",
        "Notes",
    ] {
        assert!(html.contains(&format!("<h2>{part}</h2>")), "{part}");
    }
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
}

#[test]
fn profiles_show_what_they_set_and_changed() {
    let mut table = table();
    for name in ["a", "b"] {
        let mut rows = Vec::new();
        for row in table.rows.iter().filter(|r| r.key.server == "percoredns") {
            let mut sample = row.runs[0].sample;
            sample.cpu_us *= if name == "b" { 1.5 } else { 1.0 };
            let server = format!("percoredns[{name}]");
            rows.push((
                Key {
                    server,
                    ..row.key.clone()
                },
                sample,
            ));
        }
        for (key, sample) in rows {
            table.add(key, 0, 0.05, sample);
        }
        let batch = if name == "b" { "<32>" } else { "64" };
        table.profiles.push(Profile {
            name: name.into(),
            settings: vec![("batch".into(), batch.into())],
        });
    }
    let html = page("t", &table, &[]);
    assert!(html.contains("<h2>Profiles</h2>") && html.contains("<b>&lt;32&gt;</b>"));
    assert!(html.contains("<td class=\"l bad\">3.75 (1.50x)</td>"));
}

#[test]
fn losses_stand_beside_wins() {
    let html = page("t", &table(), &[]);
    // CPU 2.5 against 3.0 is a win, the tail of 320 us against 267 us a loss.
    assert!(html.contains("good\">win") && html.contains("bad\">LOSS"));
    assert!(outcome(1.0).contains("even") && outcome(f64::NAN).contains("none"));
    // No figures, no table of them.
    assert!(!html.contains("their bars"));
}
