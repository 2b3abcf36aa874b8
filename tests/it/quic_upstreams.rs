//! percoredns as the upstream of percoredns over QUIC and HTTP/3, which is killed and started again.

use percoredns::testing::authority::Authority;

use crate::server::{Folder, Server, free_port, run};

const HOSTS: [&str; 2] = ["dns.example", "127.0.0.1"];

/// An upstream at a port that stays.
fn upstream(scheme: &str, port: u16, files: &(String, String)) -> Server {
    let (cert, key) = files;
    Server::start(&format!(
        "{scheme}://.:{port} {{\n  bind 127.0.0.1\n  tls {cert} {key}\n  template IN A {{\n    answer \"{{{{ .Name }}}} 60 IN A 192.0.2.44\"\n  }}\n}}\n"
    ))
}

fn forwarder(runtime: &str, to: &str, options: &str) -> Server {
    let corefile = format!(".:0 {{\n  errors\n  forward . {to} {{\n    {options}\n  }}\n}}\n");
    Server::with(Folder::new(), &corefile, |command| {
        command.args(["-runtime", runtime]);
    })
}

fn check(server: &Server, what: &str, count: usize) {
    for nth in 0..count {
        let reply = server.ask(&format!("n{nth}.example.org A +do"));
        let is_right = reply.answer.first();
        let is_right = is_right.is_some_and(|record| record.ends_with(" IN A 192.0.2.44"));
        assert!(is_right, "{what}, {nth}: {reply:?}");
    }
}

#[test]
fn forwards_to_itself_and_again_after_it_was_killed() {
    let authority = Authority::new();
    let files = authority.server("own", &HOSTS);
    let ca = authority.ca_file();
    for runtime in ["auto", "epoll"] {
        for scheme in ["quic", "https3"] {
            let port = free_port();
            let first = upstream(scheme, port, &files);
            // One attempt: it is the connection that has to be found dead, not the query to be asked again.
            let options = format!("tls {ca}\n    max_connect_attempts 1\n    max_fails 0");
            let to = format!("{scheme}://127.0.0.1:{port}");
            let server = forwarder(runtime, &to, &options);
            check(&server, &to, 30);
            first.signal(libc::SIGKILL);
            drop(first);
            let second = upstream(scheme, port, &files);
            check(&server, &format!("{to} again"), 10);
            // While nobody is there, queries fail; then they do not.
            second.signal(libc::SIGKILL);
            drop(second);
            assert_eq!(server.ask("dead.example.org A").rcode, "SERVFAIL");
            let _third = upstream(scheme, port, &files);
            check(&server, &format!("{to} once more"), 10);
        }
    }
}

#[test]
fn names_and_authorities_are_looked_at() {
    let authority = Authority::new();
    let files = authority.server("own", &HOSTS);
    let (ca, other) = (authority.ca_file(), Authority::new());
    let other = other.ca_file();
    for scheme in ["quic", "https3"] {
        let port = free_port();
        let _upstream = upstream(scheme, port, &files);
        let named = format!("{scheme}://127.0.0.1%dns.example:{port}");
        let bare = format!("{scheme}://127.0.0.1:{port}");
        check(&forwarder("auto", &named, &format!("tls {ca}")), &named, 2);
        let options = format!("tls {ca}\n    tls_servername dns.example\n    doh_method GET");
        check(&forwarder("auto", &bare, &options), &options, 2);
        let wrong = format!("tls {ca}\n    tls_servername other.example");
        for options in [wrong, format!("tls {other}")] {
            let server = forwarder("auto", &bare, &options);
            assert_eq!(server.ask("www.example.org A").rcode, "SERVFAIL");
            server.wait_for(|line| line.contains("tls: failed to verify certificate: x509: "));
        }
    }
}

#[test]
fn no_proxy_header_goes_over_quic() {
    let authority = Authority::new();
    let folder = Folder::new();
    let list = "[global]\nupstream_proxy_protocol = [\"127.0.0.1:853\"]\n";
    let tune = folder.write("tune.toml", list).display().to_string();
    let ca = authority.ca_file();
    let text = format!(".:0 {{\n  forward . quic://127.0.0.1 {{\n    tls {ca}\n  }}\n}}\n");
    folder.write("Corefile", &text);
    let (code, out, errors) = run(&folder, &["-tune", &tune]);
    let text = out + &errors;
    assert!(text.contains("which QUIC cannot carry"), "{text}");
    assert_eq!(code, 1);
}
