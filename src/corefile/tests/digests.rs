use super::*;

fn digest(text: &str) -> String {
    let source = FakeSource::default()
        .env("TTL", "30")
        .file("/conf/cache", "cache 30\n");
    parse_all(text, &source).unwrap().digest()
}

const BASE: &str = ". {\n log a\n cache 30\n}";

#[test]
fn layout_does_not_count() {
    let want = digest(BASE);
    assert_eq!(want.len(), 128);
    for same in [
        "# comment\n.   {\n\n\tlog \"a\" # comment\n cache 30\n}\n\n",
        ".\nlog a\ncache 30",
        ". {\n log a\n cache {$TTL}\n}",
        ". {\n log a\n import cache\n}",
        "(s) {\n log a\n cache 30\n}\n. {\n import s\n}",
        ". {\n cache 30\n log a\n}",
    ] {
        assert_eq!(digest(same), want, "{same}");
    }
}

#[test]
fn meaning_counts() {
    let want = digest(BASE);
    for other in [
        "",
        ".:53 {\n log a\n cache 30\n}",
        ". x {\n log a\n cache 30\n}",
        ". {\n log b\n cache 30\n}",
        ". {\n log a\n cache 30 {\n }\n}",
        ". {\n log a\n log a\n cache 30\n}",
        ". {\n log a\n cache 30\n}\nx {\n}",
        ". {\n log \"a cache 30\"\n}",
    ] {
        assert_ne!(digest(other), want, "{other}");
    }
    // Where a line ends is meaning.
    assert_ne!(
        digest(". {\n a {\n b c\n }\n}"),
        digest(". {\n a {\n b\n c\n }\n}")
    );
    assert_ne!(digest(". {\n a b\n}"), digest(". {\n a \"b\n\"\n}"));
}

#[test]
fn a_block_has_its_own_digest() {
    let source = FakeSource::default();
    let one = parse_all("a {\n log\n}\nb {\n errors\n}", &source).unwrap();
    let two = parse_all("b {\n errors\n}\na {\n log x\n}", &source).unwrap();
    assert_eq!(one.blocks[1].digest(), two.blocks[0].digest());
    assert_ne!(one.blocks[0].digest(), two.blocks[1].digest());
}
