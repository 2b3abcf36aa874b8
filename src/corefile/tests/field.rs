//! Corefiles in the shape of those that run in the field.

use super::*;
use crate::corefile::address;

const KUBEADM: &str = "
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

const NODE_LOCAL: &str = "cluster.local:53 {
    errors
    cache {
            success 9984 30
            denial 9984 5
    }
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
            force_tcp
    }
    health 169.254.20.10:8080
    }
in-addr.arpa:53 {
    errors
    cache 30
    }
ip6.arpa:53 {
    errors
    }
.:53 {
    errors
    }
";

const SPLIT: &str = "# snippets, environment, reverse zones, several listeners
(common) {
    errors {
        consolidate 5m \".* i/o timeout$\" warning
    }
    log . \"{remote} {name} {type}\" {
        class denial error
    }
}
.:{$DNS_PORT} tls://. {
    import common
    template IN A {
        match \"^(?P<n>[a-z]*)\\.example\\.$\"
        answer \"{{ .Name }} 60 IN A 192.0.2.1\"
    }
}
corp.example:{$DNS_PORT}, 10.0.0.0/8:{$DNS_PORT} {
    import common
    view lan {
        expr incidr(client_ip(), '10.0.0.0/8') && type() == 'A'
    }
}
";

#[test]
fn stock_corefiles_keep_their_shape() {
    #[track_caller]
    fn check(text: &str, want: &[(&str, usize)]) {
        let source = FakeSource::default().env("DNS_PORT", "1053");
        let corefile = parse_all(text, &source).unwrap();
        assert_eq!(corefile.warnings, [""; 0]);
        let found: Vec<_> = corefile
            .blocks
            .iter()
            .map(|block| {
                let keys = address::keys(block, 53).unwrap();
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                (keys.join(" "), block.directives.len())
            })
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(keys, count)| (keys.as_str(), *count))
            .collect();
        assert_eq!(found, want);
    }
    check(KUBEADM, &[(".:53", 10)]);
    check(
        NODE_LOCAL,
        &[
            ("cluster.local.:53", 5),
            ("in-addr.arpa.:53", 2),
            ("ip6.arpa.:53", 1),
            (".:53", 1),
        ],
    );
    check(
        SPLIT,
        &[
            (".:1053 tls://.:853", 3),
            ("corp.example.:1053 10.in-addr.arpa.:1053", 3),
        ],
    );
}

#[test]
fn arguments_survive_quoting() {
    let source = FakeSource::default().env("DNS_PORT", "1053");
    let corefile = parse_all(SPLIT, &source).unwrap();
    let words = |name: &str| {
        let directive = corefile.blocks[0].directive(name).unwrap();
        directive
            .tokens
            .iter()
            .map(|token| token.text.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words("log"),
        [
            "log",
            ".",
            "{remote} {name} {type}",
            "{",
            "class",
            "denial",
            "error",
            "}"
        ]
    );
    assert!(words("template").contains(&r"^(?P<n>[a-z]*)\.example\.$".to_owned()));
    assert!(words("errors").contains(&".* i/o timeout$".to_owned()));
}
