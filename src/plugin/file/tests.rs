//! Tests of *file*: options, reloads, refusals, and answers that need the rest of the server.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::*;
use crate::telemetry::log::capture;
use crate::testing::directive::{Directive, query, set_up_error, set_up_in};
use crate::testing::{Host, Seen, check_seen};
use crate::wire::reply::{Record, Section};
use crate::wire::{flag, types};

/// A directory of its own that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("percoredns-file-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn zone(serial: u32, rest: &str) -> String {
    format!("$TTL 60\n@ SOA ns h {serial} 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n{rest}\n")
}

fn set_up(lines: &str) -> Directive<File> {
    match set_up_in::<File>("z", "file", lines) {
        Ok(directive) => directive,
        Err(error) => panic!("{error}"),
    }
}

fn records(query: &Query) -> Vec<String> {
    let reply = &query.reply;
    let line = |record: &Record| {
        let section = ["an", "au", "ad"][record.section as usize];
        format!("{section} {} {}", Text(reply.owner(record)), record.rtype)
    };
    let sections = [Section::Answer, Section::Authority, Section::Additional];
    sections
        .into_iter()
        .flat_map(|section| reply.section(section))
        .map(line)
        .collect()
}

fn outcome(file: &File, name: &str, qtype: u16) -> (Flow, String) {
    let mut query = query(name, qtype);
    let flow = file.on_query(&mut query);
    let aa = if query.reply.has_flag(flag::AA) {
        " aa"
    } else {
        ""
    };
    let text = match query.answer {
        Answer::Written => format!("{}{aa} {}", query.reply.rcode, records(&query).join(", ")),
        Answer::Unwritten(rcode) => format!("unwritten {rcode}"),
        other => format!("{other:?}"),
    };
    (flow, text)
}

fn check(file: &File, name: &str, qtype: u16, flow: Flow, text: &str) {
    assert_eq!(
        outcome(file, name, qtype),
        (flow, text.to_owned()),
        "{name} {qtype}"
    );
}

#[test]
fn answers_by_flow_and_rcode() {
    let dir = Dir::new();
    let path = dir.write(
        "db",
        &zone(1, "a A 192.0.2.2\nsub NS ns.sub\n*.w TXT x\nd DNAME aaaa.d"),
    );
    let file = set_up(&format!("file {path}")).open(&["file"]);
    let reply = Flow::Reply;
    check(&file, "A.z", 1, reply, "NOERROR aa an a.z. 1, au z. 2");
    check(&file, "b.z", 1, reply, "NXDOMAIN aa au z. 6");
    check(&file, "a.z", 28, reply, "NOERROR aa au z. 6");
    check(&file, "x.sub.z", 1, reply, "NOERROR au sub.z. 2");
    check(
        &file,
        "q.w.z",
        16,
        reply,
        "NOERROR aa an q.w.z. 16, au z. 2",
    );
    let long = format!("{0}.{0}.{0}.{1}.d.z", "x".repeat(63), "y".repeat(55));
    check(&file, &long, 1, reply, "YXDOMAIN aa an d.z. 39, au z. 2");
    check(&file, "z", 252, reply, "unwritten REFUSED");
    check(&file, "z", 251, reply, "unwritten REFUSED");
    // Outside: refused at the end of a chain, otherwise the next plugin's.
    check(&file, "y", 1, reply, "unwritten REFUSED");
    let file = set_up(&format!("file {path}")).open(&["file", "whoami"]);
    check(&file, "y", 1, Flow::Next, "Open");
}

#[test]
fn notify_is_dropped_and_logged() {
    let dir = Dir::new();
    let file = set_up(&format!("file {}", dir.write("db", &zone(1, "")))).open(&["file"]);
    let mut notify = query("z", types::SOA);
    notify.flags |= OPCODE_NOTIFY << 11;
    let lines = capture::lines(|| assert_eq!(file.on_query(&mut notify), Flow::Drop));
    assert_eq!(
        lines,
        ["[INFO] plugin/file: Dropping notify from 10.240.0.1 for z."]
    );
}

#[test]
fn fallthrough_is_for_names_without_records() {
    let dir = Dir::new();
    let path = dir.write(
        "db",
        &zone(
            1,
            "a A 192.0.2.2\n*.w TXT x\nx.ent A 192.0.2.3\nc CNAME none.example.",
        ),
    );
    let file = set_up(&format!("file {path} {{\n fallthrough\n}}")).open(&["file", "whoami"]);
    check(&file, "b.z", 1, Flow::Next, "Open");
    check(&file, "q.w.z", 1, Flow::Next, "Open");
    check(&file, "ent.z", 1, Flow::Next, "Open");
    check(&file, "a.z", 28, Flow::Reply, "NOERROR aa au z. 6");
    let file = set_up(&format!("file {path} {{\n fallthrough b.z\n}}")).open(&["file", "whoami"]);
    check(&file, "x.b.z", 1, Flow::Next, "Open");
    check(
        &file,
        "c.z",
        28,
        Flow::Park,
        "NOERROR aa an c.z. 5, au z. 2",
    );
    check(&file, "d.z", 1, Flow::Reply, "NXDOMAIN aa au z. 6");
}

#[test]
fn longest_origin_answers_and_one_file_serves_several() {
    let dir = Dir::new();
    let (outer, shared) = (
        dir.write("outer", &zone(1, "a.sub A 192.0.2.9")),
        dir.write("shared", &zone(2, "b A 192.0.2.3")),
    );
    let file = set_up(&format!("file {outer}\nfile {shared} sub.z y")).open(&["file"]);
    check(&file, "a.sub.z", 1, Flow::Reply, "NXDOMAIN aa au sub.z. 6");
    check(
        &file,
        "b.sub.z",
        1,
        Flow::Reply,
        "NOERROR aa an b.sub.z. 1, au sub.z. 2",
    );
    check(
        &file,
        "b.y",
        1,
        Flow::Reply,
        "NOERROR aa an b.y. 1, au y. 2",
    );
    check(
        &file,
        "ns.z",
        1,
        Flow::Reply,
        "NOERROR aa an ns.z. 1, au z. 2",
    );
}

#[test]
fn wildcard_is_left_as_metadata() {
    let dir = Dir::new();
    let file = set_up(&format!("file {}", dir.write("db", &zone(1, "*.w TXT x")))).open(&["file"]);
    let mut query = query("q.w.z", types::TXT);
    query.meta.enabled = true;
    file.on_query(&mut query);
    assert_eq!(query.meta.find("zone/wildcard"), Some("*.w.z."));
}

#[test]
fn reloads_on_another_serial() {
    let dir = Dir::new();
    let path = dir.write("db", &zone(7, "a A 192.0.2.2"));
    let mut directive = set_up(&format!("file {path} {{\n reload 30s\n upstream\n}}"));
    let file = directive.open(&["file"]);
    let periodic = &mut directive.life.periodic[0];
    assert_eq!(periodic.interval.as_secs(), 30);
    let mut reload = || capture::lines(|| (periodic.work)());
    // Same serial: what else changed is not seen, not even a mistake.
    dir.write("db", &zone(7, "b A"));
    assert_eq!(reload(), Vec::<String>::new());
    // Smaller serials count too.
    dir.write("db", &zone(6, "b A 192.0.2.3"));
    assert_eq!(
        reload(),
        [format!(
            "[INFO] plugin/file: Successfully reloaded zone \"z.\" in {path:?} with 6 SOA serial"
        )]
    );
    check(
        &file,
        "b.z",
        1,
        Flow::Reply,
        "NOERROR aa an b.z. 1, au z. 2",
    );
    check(&file, "a.z", 1, Flow::Reply, "NXDOMAIN aa au z. 6");
    // A mistake keeps the zone.
    dir.write("db", &zone(8, "b A"));
    let error = format!(
        "[ERROR] plugin/file: Parsing zone \"z.\": {path}: dns: bad A: missing field: \"A\" at line: 5:3"
    );
    assert_eq!(reload(), [error]);
    check(
        &file,
        "b.z",
        1,
        Flow::Reply,
        "NOERROR aa an b.z. 1, au z. 2",
    );
    fs::remove_file(&path).unwrap();
    let error = format!(
        "[ERROR] plugin/file: Failed to open zone \"z.\" in {path:?}: open {path}: no such file or directory"
    );
    assert_eq!(reload(), [error]);
}

#[test]
fn reloads_by_mtime() {
    let dir = Dir::new();
    let path = dir.write("db", &zone(7, ""));
    let mut directive = set_up(&format!("file {path} {{\n reload_by_mtime\n}}"));
    let periodic = &mut directive.life.periodic[0];
    assert_eq!(periodic.interval.as_secs(), 60);
    assert_eq!(capture::lines(|| (periodic.work)()), Vec::<String>::new());
    let touch = |seconds| {
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
            .unwrap();
    };
    touch(1000);
    assert_eq!(capture::lines(|| (periodic.work)()).len(), 1);
    assert_eq!(capture::lines(|| (periodic.work)()).len(), 0);
    touch(900);
    assert_eq!(capture::lines(|| (periodic.work)()).len(), 1);
}

#[test]
fn missing_file_is_tried_again() {
    let dir = Dir::new();
    let path = dir.0.join("db").to_string_lossy().into_owned();
    let mut directive = None;
    let lines = capture::lines(|| directive = Some(set_up(&format!("file {path}"))));
    let warning =
        format!("Failed to open \"open {path}: no such file or directory\": trying again in 1m0s");
    assert_eq!(lines, [format!("[WARNING] plugin/file: {warning}")]);
    let mut directive = directive.unwrap();
    let file = directive.open(&["file"]);
    check(&file, "ns.z", 1, Flow::Reply, "unwritten SERVFAIL");
    dir.write("db", &zone(0, ""));
    assert_eq!(
        capture::lines(|| (directive.life.periodic[0].work)()).len(),
        1
    );
    check(
        &file,
        "ns.z",
        1,
        Flow::Reply,
        "NOERROR aa an ns.z. 1, au z. 2",
    );
}

#[test]
fn mistakes_stop_the_start() {
    let dir = Dir::new();
    let (good, bad) = (
        dir.write("db", &zone(1, "")),
        dir.write("bad", "$TTL 1\n@ A x\n"),
    );
    for (lines, expect) in [
        ("file".to_owned(), "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'file'".to_owned()),
        (format!("file {bad}"), format!("{bad}: dns: bad A: bad IPv4 address: \"x\" at line: 2:5")),
        (format!("file {good} {{\n reload\n}}"), "reload duration value is expected".into()),
        (format!("file {good} {{\n reload 5\n}}"), "plugin/file: time: missing unit in duration \"5\"".into()),
        (format!("file {good} {{\n transfer from *\n}}"), "Corefile:3 - Error during parsing: unknown property 'transfer'".into()),
        ("file /none/db {\n reload 0\n}".into(), "plugin/file: open /none/db: no such file or directory".into()),
    ] {
        assert_eq!(set_up_error::<File>("file", &lines), expect, "{lines}");
    }
    // The second is how CoreDNS wrote it up to 1.7.
    for option in ["reload 0", "no_reload\n transfer to *"] {
        let lines = format!("file {good} {{\n {option}\n}}");
        assert!(set_up(&lines).life.periodic.is_empty(), "{option}");
    }
}

// === a whole server ===

/// A server with one block for each `(zone, text)`.
fn serve(blocks: &[(&str, String)]) -> (Dir, Host) {
    let dir = Dir::new();
    let block = |(number, (origin, text)): (usize, &(&str, String))| {
        let path = dir.write(&number.to_string(), text);
        format!("{origin}:53 {{\n file {path}\n}}\n")
    };
    let corefile: String = blocks.iter().enumerate().map(block).collect();
    let host = Host::new(&corefile).unwrap_or_else(|error| panic!("{error}"));
    (dir, host)
}

/// Owner and type of the records of a reply after its rcode.
fn outline(seen: &Seen) -> String {
    let mut text = seen.rcode.clone();
    for (section, records) in [
        (" an", &seen.answer),
        (" au", &seen.authority),
        (" ad", &seen.additional),
    ] {
        for record in records {
            let words: Vec<&str> = record.split_whitespace().collect();
            text += &format!("{section} {} {},", words[0], words[3]);
        }
    }
    text.trim_end_matches(',').into()
}

#[test]
fn chains_leave_the_zone() {
    for (rest, expect) in [
        ("w CNAME a.y.", "NOERROR an w.z. CNAME, an a.y. A, au z. NS"),
        ("w CNAME none.y.", "NXDOMAIN an w.z. CNAME, au y. SOA"),
        ("w CNAME t.y.", "NOERROR an w.z. CNAME, au y. SOA"),
        // Inside this zone by name, but another block is closer.
        (
            "w CNAME a.k",
            "NOERROR an w.z. CNAME, an a.k.z. A, au z. NS",
        ),
        (
            "w CNAME a.k\n*.k A 192.0.2.6",
            "NOERROR an w.z. CNAME, an a.k.z. A, au z. NS",
        ),
        // Nobody serves it: the resolver gets the CNAME and goes on by itself.
        ("w CNAME a.example.", "NOERROR an w.z. CNAME, au z. NS"),
        // Nothing at the end, and a wildcard at the end.
        ("w CNAME none", "NXDOMAIN an w.z. CNAME, au z. SOA"),
        (
            "w CNAME q.x\n*.x A 192.0.2.6",
            "NOERROR an w.z. CNAME, an q.x.z. A, au z. NS",
        ),
        // A delegated name is not ours to answer.
        ("w CNAME q.x\nx NS ns", "NOERROR an w.z. CNAME, au z. NS"),
        // A loop over two blocks ends.
        (
            "w CNAME back.k",
            "SERVFAIL an w.z. CNAME, an back.k.z. CNAME, au z. NS",
        ),
    ] {
        let (_dir, host) = serve(&[
            ("k.z", zone(1, "a A 192.0.2.8\nback CNAME w.z.")),
            ("y", zone(1, "a A 192.0.2.7\nt TXT t")),
            ("z", zone(1, rest)),
        ]);
        assert_eq!(outline(&host.ask("w.z A")), expect, "{rest}");
    }
}

#[test]
fn replies_on_the_wire() {
    let (_dir, host) = serve(&[("z", zone(1, "a A 192.0.2.2\nm MX 5 a"))]);
    let expect = "rcode: NOERROR
        flags: qr aa rd
        answer: M.z. 60 IN MX 5 a.z.
        authority: z. 60 IN NS ns.z.
        additional: a.z. 60 IN A 192.0.2.2";
    for query in ["M.z MX", "M.z MX +tcp", "M.z MX +do"] {
        check_seen(&host.ask(query), query, expect);
    }
    check_seen(&host.ask("z AXFR +tcp"), "AXFR", "rcode: REFUSED\nanswer:");
    check_seen(&host.ask("a.z A class=CH"), "CH", "rcode: REFUSED\nanswer:");
}
