//! The example of RFC 4592 section 2.2.1 complete, and what CoreDNS crashed on.

use super::*;

const RFC4592: &str = "
$ORIGIN example.
example.                 3600 IN  SOA   ns hostmaster 1 2 3 4 5
example.                 3600     NS    ns.example.com.
example.                 3600     NS    ns.example.net.
*.example.               3600     TXT   \"this is a wildcard\"
*.example.               3600     MX    10 host1.example.
sub.*.example.           3600     TXT   \"this is not a wildcard\"
host1.example.           3600     A     192.0.2.1
_ssh._tcp.host1.example. 3600     SRV   0 0 22 host1
_ssh._tcp.host2.example. 3600     SRV   0 0 22 host1
subdel.example.          3600     NS    ns.example.com.
subdel.example.          3600     NS    ns.example.net.
";

const NS: &str = "AU example. NS ns.example.com.\nAU example. NS ns.example.net.";
const SOA: &str = "AU example. SOA";

#[test]
fn rfc_4592_example() {
    let zone = load(RFC4592, "example.");
    for (question, expect) in [
        // Section 2.2.1: synthesized.
        ("host3.example. MX", format!("Success *.example.\nAN host3.example. MX 10 host1.example.\n{NS}\nAD host1.example. A 192.0.2.1")),
        ("host3.example. A", format!("NoData *.example.\n{SOA}")),
        ("foo.bar.example. TXT", format!("Success *.example.\nAN foo.bar.example. TXT \\x12this is a wildcard\n{NS}")),
        // Not synthesized.
        ("host1.example. MX", format!("NoData\n{SOA}")),
        ("sub.*.example. MX", format!("NoData\n{SOA}")),
        ("_telnet._tcp.host1.example. SRV", format!("NameError\n{SOA}")),
        ("host.subdel.example. A", "Delegation\nAU subdel.example. NS ns.example.com.\nAU subdel.example. NS ns.example.net.".into()),
        ("ghost.*.example. MX", format!("NameError\n{SOA}")),
        // The wildcard itself, and empty non-terminals (section 2.2.2).
        ("*.example. TXT", format!("Success\nAN *.example. TXT \\x12this is a wildcard\n{NS}")),
        ("host2.example. TXT", format!("NoData\n{SOA}")),
        ("_tcp.host2.example. A", format!("NoData\n{SOA}")),
        ("x._tcp.host2.example. TXT", format!("NameError\n{SOA}")),
        ("y.host2.example. TXT", format!("NameError\n{SOA}")),
        ("sub.*.example. TXT", format!("Success\nAN sub.*.example. TXT \\x16this is not a wildcard\n{NS}")),
    ] {
        check(&zone, question, &expect);
    }
}

#[test]
fn wildcards_of_other_types() {
    let zone = load(
        "
$TTL 60
@          SOA  ns h 1 2 3 4 5
@          NS   ns
ns         A    192.0.2.53
*.c        CNAME target
*.loop     CNAME next.loop
*.grow     CNAME x.y.grow
*.self     CNAME *.self
*.out      CNAME www.example.net.
*.ent      TXT  w
a.b.ent    A    192.0.2.1
sub.*.half A    192.0.2.9
*.ns       NS   ns.example.net.
*.srv      SRV  0 0 1 ns
target     A    192.0.2.2
",
        "z.",
    );
    let auth = "AU z. NS ns.z.";
    for (question, expect) in [
        (
            "q.c.z. A",
            format!("Success *.c.z.\nAN q.c.z. CNAME target.z.\nAN target.z. A 192.0.2.2\n{auth}"),
        ),
        (
            "q.c.z. CNAME",
            format!("Success *.c.z.\nAN q.c.z. CNAME target.z.\n{auth}"),
        ),
        (
            "q.c.z. TXT",
            "NoData *.c.z.\nAN q.c.z. CNAME target.z.\nAU z. SOA".into(),
        ),
        // A loop through a wildcard ends where it repeats.
        (
            "q.loop.z. A",
            format!(
                "Success *.loop.z.\nAN q.loop.z. CNAME next.loop.z.\nAN next.loop.z. CNAME next.loop.z.\n{auth}"
            ),
        ),
        (
            "x.self.z. A",
            format!(
                "Success *.self.z.\nAN x.self.z. CNAME *.self.z.\nAN *.self.z. CNAME *.self.z.\n{auth}"
            ),
        ),
        (
            "*.self.z. A",
            format!("Success\nAN *.self.z. CNAME *.self.z.\n{auth}"),
        ),
        (
            "q.grow.z. A",
            format!(
                "Success *.grow.z.\nAN q.grow.z. CNAME x.y.grow.z.\nAN x.y.grow.z. CNAME x.y.grow.z.\n{auth}"
            ),
        ),
        (
            "q.out.z. A",
            format!("Chase www.example.net. *.out.z.\nAN q.out.z. CNAME www.example.net.\n{auth}"),
        ),
        // The closest encloser b.ent exists, so *.ent does not apply below it.
        (
            "x.ent.z. TXT",
            format!("Success *.ent.z.\nAN x.ent.z. TXT \\x01w\n{auth}"),
        ),
        ("x.b.ent.z. TXT", "NameError\nAU z. SOA".into()),
        ("b.ent.z. TXT", "NoData\nAU z. SOA".into()),
        // A wildcard that is an empty non-terminal still is one.
        ("x.half.z. A", "NoData *.half.z.\nAU z. SOA".into()),
        // NS at a wildcard refers nobody.
        ("q.ns.z. A", "NoData *.ns.z.\nAU z. SOA".into()),
        (
            "q.ns.z. NS",
            format!("Success *.ns.z.\nAN q.ns.z. NS ns.example.net.\n{auth}"),
        ),
        (
            "q.srv.z. SRV",
            format!("Success *.srv.z.\nAN q.srv.z. SRV 0 0 1 ns.z.\n{auth}\nAD ns.z. A 192.0.2.53"),
        ),
    ] {
        check(&zone, question, &expect);
    }
}
