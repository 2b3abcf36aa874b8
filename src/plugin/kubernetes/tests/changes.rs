//! What becomes of answers while the cluster changes, is large, or stands behind a cache.

use super::*;

#[test]
fn before_the_first_sync_nothing_is_denied() {
    let fixture = Fixture::unsynced("fallthrough", "whoami");
    fixture.check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: SERVFAIL"),
        ("no.such.cluster.local. A", "rcode: SERVFAIL"),
    ]);
    // Names of addresses are not the cluster's alone.
    let reverse = fixture.host.ask("9.9.9.10.in-addr.arpa. PTR");
    assert_eq!(reverse.additional.len(), 2, "{reverse:?}");
    fixture.list(&objects());
    fixture.check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: NOERROR"),
        (
            "no.such.cluster.local. A",
            "rcode: NOERROR\nanswer:\nauthority:",
        ),
    ]);
    let waiting = Fixture::unsynced("", "ready");
    assert_eq!(
        waiting.host.life.readiness.not_ready().as_deref(),
        Some("kubernetes")
    );
    waiting.list(&objects());
    assert_eq!(waiting.host.life.readiness.not_ready(), None);
}

#[test]
fn what_changes_is_answered_anew_and_what_is_lost_stays() {
    let fixture = known("", "");
    let mut writer = fixture.cluster.writer().lock().unwrap();
    writer.put(&Object::Service(service("shop", "new", &["10.96.0.99"])));
    writer.remove(&Object::Service(service("shop", "web", &[])));
    writer.lost(Kind::Service);
    drop(writer);
    fixture.check_all(&[
        (
            "new.shop.svc.cluster.local. A",
            "answer: new.shop.svc.cluster.local. 5 IN A 10.96.0.99",
        ),
        ("web.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        ("dual.shop.svc.cluster.local. A", "rcode: NOERROR"),
    ]);
}

#[test]
fn large_sets_are_cut_and_whole_over_tcp() {
    let fixture = known("", "");
    let endpoints: Vec<String> = (0..1_000u32)
        .map(|nth| format!("10.7.{}.{}", nth / 250, nth % 250))
        .collect();
    let mut writer = fixture.cluster.writer().lock().unwrap();
    writer.put(&Object::Service(Service {
        reach: Reach::Headless,
        ..service("shop", "many", &[])
    }));
    for (nth, part) in endpoints.chunks(100).enumerate() {
        let part: Vec<(&str, &str)> = part.iter().map(|address| (address.as_str(), "")).collect();
        writer.put(&Object::Slice(slice(
            "shop",
            &format!("many-{nth}"),
            "many",
            &part,
        )));
    }
    drop(writer);
    let cut = fixture
        .host
        .ask("many.shop.svc.cluster.local. A bufsize=1232");
    assert!(
        cut.flags.contains("tc") && cut.size <= 1232 && cut.answer.len() > 60,
        "{}",
        cut.answer.len()
    );
    let whole = fixture.host.ask("many.shop.svc.cluster.local. A +tcp");
    assert_eq!(
        (whole.answer.len(), whole.flags.contains("tc")),
        (1_000, false)
    );
}

#[test]
fn a_cache_in_front_is_never_stale() {
    let fixture = known("fallthrough\n pods insecure", "cache 30\n whoami");
    let put = |object: Object| fixture.cluster.writer().lock().unwrap().put(&object);
    let answers = |query: &str| fixture.host.ask(query).answer;
    let web = "web.shop.svc.cluster.local. A";
    let soon = "soon.shop.svc.cluster.local. A";
    let queries = [
        web,
        soon,
        "1.0.96.10.in-addr.arpa. PTR",
        "99.0.96.10.in-addr.arpa. PTR",
    ];
    // Each twice in one process: what can be kept is kept now.
    let first = fixture.host.ask_all(&[&queries[..], &queries[..]].concat());
    assert_eq!(
        first[4].answer,
        ["web.shop.svc.cluster.local. 5 IN A 10.96.0.1"]
    );
    assert_eq!(
        (first[5].answer.len(), first[5].additional.len()),
        (0, 2),
        "answered by the next plugin"
    );
    put(Object::Service(service("shop", "web", &["10.96.0.98"])));
    put(Object::Service(service("shop", "soon", &["10.96.0.99"])));
    assert_eq!(
        answers(web),
        ["web.shop.svc.cluster.local. 5 IN A 10.96.0.98"]
    );
    assert_eq!(
        answers(soon),
        ["soon.shop.svc.cluster.local. 5 IN A 10.96.0.99"]
    );
    assert_eq!(
        answers("99.0.96.10.in-addr.arpa. PTR"),
        ["99.0.96.10.in-addr.arpa. 5 IN PTR soon.shop.svc.cluster.local."]
    );
    assert_eq!(
        answers("98.0.96.10.in-addr.arpa. PTR"),
        ["98.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local."]
    );
    assert_eq!(answers("1.0.96.10.in-addr.arpa. PTR"), [""; 0]);
    // And a packet thread answers them itself.
    for both in fixture
        .host
        .ask_both_ways(&[web, "no.shop.svc.cluster.local. A"])
    {
        assert!(both.short.is_none_or(|short| short == both.long));
    }
}

#[test]
fn a_packet_thread_answers_what_is_in_memory() {
    for directives in [
        "",
        "cache 30",
        "cache 30\n loadbalance\n errors\n prometheus :0",
    ] {
        let fixture = known("pods insecure", directives);
        for query in [
            "web.shop.svc.cluster.local. A",
            "web.shop.svc.cluster.local. AAAA",
            "_http._tcp.web.shop.svc.cluster.local. SRV",
            "1.0.96.10.in-addr.arpa. PTR",
            "www.example.com.shop.svc.cluster.local. A",
            "example.com.svc.cluster.local. AAAA",
            "example.com.cluster.local. A",
            "10-1-7-7.shop.pod.cluster.local. A",
            "db-1.db.shop.svc.cluster.local. A",
        ] {
            let [both] = &fixture.host.ask_both_ways(&[query])[..] else {
                panic!()
            };
            // Names of addresses may be anybody's, so a cache looks them up first.
            assert!(both.short.is_some(), "{directives}: {query}");
            assert_eq!(both.short.as_ref(), Some(&both.long), "{query}");
        }
    }
}

#[test]
fn slices_that_overlap_answer_each_for_what_it_has() {
    let fixture = known("", "");
    let mirrored = |name: &str, port_name: &str, number: u16| Slice {
        ports: vec![port(port_name, Protocol::Tcp, number)],
        ..slice("shop", name, "mirror", &[("10.1.3.1", "")])
    };
    let shared = [("10.1.4.1", "one"), ("10.1.4.1", "two")];
    fixture.put(&[
        Object::Service(Service {
            reach: Reach::Headless,
            ..service("shop", "mirror", &[])
        }),
        Object::Slice(mirrored("mirror-1", "http", 80)),
        Object::Slice(mirrored("mirror-2", "metrics", 90)),
        Object::Service(Service {
            reach: Reach::Headless,
            ..service("shop", "shared", &[])
        }),
        Object::Slice(slice("shop", "shared-1", "shared", &shared)),
    ]);
    for (name, number) in [("http", 80), ("metrics", 90)] {
        let query = format!("_{name}._tcp.mirror.shop.svc.cluster.local.");
        fixture.check(
            &format!("{query} A"),
            &format!("answer: {query} 5 IN A 10.1.3.1"),
        );
        fixture.check(
            &format!("{query} SRV"),
            &format!(
                "answer: {query} 5 IN SRV 0 100 {number} 10-1-3-1.mirror.shop.svc.cluster.local."
            ),
        );
    }
    fixture.check_all(&[
        (
            "mirror.shop.svc.cluster.local. A",
            "answer: mirror.shop.svc.cluster.local. 5 IN A 10.1.3.1",
        ),
        (
            "shared.shop.svc.cluster.local. A",
            "answer: shared.shop.svc.cluster.local. 5 IN A 10.1.4.1",
        ),
        (
            "two.shared.shop.svc.cluster.local. A",
            "answer: two.shared.shop.svc.cluster.local. 5 IN A 10.1.4.1",
        ),
    ]);
    let both = fixture.host.ask("mirror.shop.svc.cluster.local. SRV");
    assert_eq!(
        (both.answer.len(), both.additional.len()),
        (2, 1),
        "{both:?}"
    );
    let names = fixture.host.ask("shared.shop.svc.cluster.local. SRV");
    assert_eq!(
        (names.answer.len(), names.additional.len()),
        (2, 2),
        "{names:?}"
    );
}

#[test]
fn parts_that_were_not_kept_so_far_are_not_denied() {
    let fixture = Fixture::unsynced("endpoint_pod_names", "");
    let keep = |keep| fixture.cluster.writer().lock().unwrap().set_keep(keep);
    keep(Keep::default());
    fixture.list(&objects());
    let known = (
        "web.shop.svc.cluster.local. A",
        "answer: web.shop.svc.cluster.local. 5 IN A 10.96.0.1",
    );
    let named = "web-pod-1.web.shop.svc.cluster.local. A";
    fixture.check_all(&[known, (named, "rcode: SERVFAIL")]);
    keep(Keep::ALL);
    fixture.check_all(&[known, (named, "rcode: SERVFAIL")]);
    fixture.list(&objects());
    let found = "answer: web-pod-1.web.shop.svc.cluster.local. 5 IN A 10.1.0.2";
    fixture.check_all(&[known, (named, found)]);
}
