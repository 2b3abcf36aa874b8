//! glommio, epoll, and a kernel that refuses io_uring: the same answers.

use crate::client;
use crate::server::{Folder, Server, refuse_io_uring};

const COREFILE: &str = "example.org:0 {\n  file db\n}\n.:0 {\n  whoami\n}\n";
const ZONE: &str = "$ORIGIN example.org.\n@ 300 IN SOA ns hostmaster 1 7200 3600 1209600 300\n@ 300 IN NS ns\nns 300 IN A 192.0.2.1\nwww 300 IN A 192.0.2.2\n";

fn start(runtime: &str, refuse: bool) -> Server {
    let folder = Folder::new();
    folder.write("db", ZONE);
    Server::with(folder, COREFILE, |command| {
        command.args(["-runtime", runtime]);
        if refuse {
            refuse_io_uring(command);
        }
    })
}

/// What the tests compare between backends.
fn answers(server: &Server) -> Vec<String> {
    let addr = server.addr("example.org.:");
    let mut all = Vec::new();
    for query in [
        "www.example.org A",
        "nx.example.org A bufsize=1232",
        "example.org SOA +do",
    ] {
        let (udp, tcp) = (client::udp(addr, query), client::tcp(addr, query));
        for reply in [udp, tcp] {
            all.push(format!(
                "{} {} {:?} {:?} {}",
                reply.rcode, reply.flags, reply.answer, reply.authority, reply.size
            ));
        }
    }
    all
}

fn backend_line(server: &Server) -> String {
    server.wait_for(|line| line.contains(" tasks on "))
}

#[test]
fn both_backends_give_the_same_answers() {
    let epoll = start("epoll", false);
    assert!(backend_line(&epoll).contains("tasks on epoll (asked for)"));
    let auto = start("auto", false);
    let line = backend_line(&auto);
    if !line.contains("tasks on glommio") {
        crate::server::skip(&format!("glommio cannot run here: {line}"));
    }
    assert_eq!(answers(&epoll), answers(&auto));
}

#[test]
fn where_io_uring_is_refused_epoll_runs_and_says_so() {
    let refused = start("auto", true);
    let line = backend_line(&refused);
    assert!(
        line.contains("tasks on epoll") && line.contains("io_uring_setup"),
        "{line}"
    );
    assert_eq!(answers(&refused), answers(&start("epoll", false)));
    let outcome = refused.reload(".:0 {\n  whoami\n}\n");
    assert_eq!(outcome, "[INFO] Reloading complete");
}

#[test]
fn glommio_by_name_is_an_error_where_it_cannot_run() {
    let folder = Folder::new();
    folder.write("Corefile", ".:0 {\n  whoami\n}\n");
    let mut command = crate::server::command(&folder);
    command.args(["-runtime", "glommio"]);
    refuse_io_uring(&mut command);
    let mut server = Server::spawn(command, folder);
    assert_eq!(server.wait(), 1);
    server.wait_for(|line| line.starts_with("glommio cannot run here: "));
}
