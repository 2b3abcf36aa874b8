//! In a whole configuration, and across a reload of it.

use crate::corefile::RealSource;
use crate::plugin::Carry;
use crate::testing::host::{Host, check_seen};

/// *whoami* tells the client's address, so an answer from memory tells that of somebody else.
const WHOAMI: &str = ".:53 {\n cache\n whoami\n}";

fn told(seen: &crate::testing::host::Seen) -> String {
    seen.additional.first().cloned().unwrap_or_default()
}

#[test]
fn the_second_answer_is_the_first_ones() {
    let host = Host::new(WHOAMI).unwrap();
    let queries = [
        "a.test. A from=192.0.2.1",
        "A.test. A from=192.0.2.2",
        "a.test. A +tcp",
        "a.test. AAAA from=192.0.2.3",
    ];
    let seen = host.ask_all(&queries);
    let expect = |name: &str| {
        format!(
            "rcode: NOERROR\nflags: qr aa rd\nanswer:\nauthority:\nadditional: {name} 5 IN A 192.0.2.1\n"
        )
    };
    for (seen, query) in seen.iter().zip(queries).take(3) {
        assert!(
            told(seen).ends_with("5 IN A 192.0.2.1"),
            "{query}: {seen:?}"
        );
    }
    assert!(told(&seen[3]).ends_with("5 IN A 192.0.2.3"));
    check_seen(
        &crate::testing::host::Seen {
            additional: seen[0].additional[..1].to_vec(),
            ..seen[0].clone()
        },
        queries[0],
        &expect("a.test."),
    );
}

#[test]
fn it_outlives_a_reload_unless_its_block_changed() {
    let carry = Carry::default();
    let first = Host::with(WHOAMI, &RealSource, &carry).unwrap();
    assert!(told(&first.ask("a.test. A from=192.0.2.1")).ends_with("192.0.2.1"));
    let same = Host::with(
        &format!("other.test {{\n whoami\n}}\n{WHOAMI}"),
        &RealSource,
        &carry,
    )
    .unwrap();
    drop(first);
    carry.prune();
    assert!(told(&same.ask("a.test. A from=192.0.2.2")).ends_with("192.0.2.1"));
    let changed = Host::with(".:53 {\n cache 60\n whoami\n}", &RealSource, &carry).unwrap();
    assert!(told(&changed.ask("a.test. A from=192.0.2.3")).ends_with("192.0.2.3"));
}
