//! The echo and both generators end to end on loopback, with few queries.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loadtest::bare::Bare;
use loadtest::child::{Process, TempDir};
use loadtest::corpus::{Corpus, Kind, corpus_text};
use loadtest::echo::Echo;
use loadtest::load::{Load, Transport};
use loadtest::origin::Origin;
use loadtest::pace::Rate;
use loadtest::security::{ALPN_DOT, Certificate, SERVER_NAME, Security};
use loadtest::stream::{Stream, connect_from};

fn corpus() -> Corpus {
    Corpus::parse(&corpus_text(Kind::Hosts, 50, "example.org"), Some(1232)).unwrap()
}

fn with_echo(body: impl FnOnce(SocketAddr)) {
    let echo = Echo::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = echo.address().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || echo.serve(&flag).unwrap());
    body(address);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn a_fixed_rate_is_kept_and_nothing_is_lost() {
    with_echo(|address| {
        let corpus = corpus();
        for spin in [false, true] {
            let report = Load {
                spin,
                ..Load::new(address, Rate::Fixed(2000), 0.25, &corpus)
            }
            .run()
            .unwrap();
            assert_eq!(
                (report.sent, report.answered, report.lost, report.wrong),
                (500, 500, 0, 0),
                "spin {spin}"
            );
            assert!((report.seconds - 0.25).abs() < 0.01, "{}", report.seconds);
            assert_eq!(report.latency.len(), 500);
            assert_eq!(report.rcodes[0], 500);
        }
    });
}

#[test]
fn the_closed_loop_saturates_and_drains() {
    with_echo(|address| {
        let corpus = corpus();
        let report = Load::new(address, Rate::Max, 0.2, &corpus).run().unwrap();
        assert!(report.answered > 200, "{}", report.answered);
        assert_eq!(
            (report.sent, report.lost, report.wrong),
            (report.answered, 0, 0)
        );
    });
}

#[test]
fn a_silent_server_loses_everything_and_the_run_ends() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let corpus = corpus();
    let load = Load {
        timeout: Duration::from_millis(100),
        ..Load::new(
            silent.local_addr().unwrap(),
            Rate::Fixed(1000),
            0.1,
            &corpus,
        )
    };
    let report = load.run().unwrap();
    assert_eq!((report.sent, report.answered, report.lost), (100, 0, 100));
    let report = Load {
        rate: Rate::Max,
        ..load
    }
    .run()
    .unwrap();
    assert_eq!(report.sent, report.lost);
}

#[test]
fn a_stall_is_charged_to_every_query_that_should_have_left() {
    // A server that stalls for 200 ms at its first query: an open loop must show it at the median of a 200 ms run as well.
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        for n in 0..100 {
            let (len, peer) = server.recv_from(&mut buffer).unwrap();
            if n == 0 {
                // From the first query on, so that a generator that starts late on a busy machine meets the whole stall.
                std::thread::sleep(Duration::from_millis(200));
            }
            buffer[2] |= 0x80;
            server.send_to(&buffer[..len], peer).unwrap();
        }
    });
    let report = Load::new(address, Rate::Fixed(500), 0.2, &corpus())
        .run()
        .unwrap();
    thread.join().unwrap();
    assert_eq!(report.answered, 100);
    assert!(
        report.latency_us(50.0) > 50_000.0,
        "{}",
        report.latency_us(50.0)
    );
}

#[test]
fn tcp_pipelines_against_the_origin() {
    let origin = Origin::start(50, "example.org").unwrap();
    let corpus = corpus();
    let load = Load {
        transport: Transport::Tcp,
        sources: 3,
        ..Load::new(origin.address(), Rate::Fixed(2000), 0.2, &corpus)
    };
    let report = load.run().unwrap();
    assert_eq!(
        (report.sent, report.answered, report.lost, report.reconnects),
        (400, 400, 0, 0)
    );
    let report = Load {
        rate: Rate::Max,
        window: 30,
        ..load
    }
    .run()
    .unwrap();
    assert!(report.answered > 100 && report.lost == 0, "{report}");
}

#[test]
fn tcp_comes_back_when_the_server_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Each connection answers three queries and ends.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            for _ in 0..3 {
                let mut len = [0; 2];
                if stream.read_exact(&mut len).is_err() {
                    break;
                }
                let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut message).unwrap();
                message[2] |= 0x80;
                let _ = stream.write_all(&[&len[..], &message].concat());
            }
        }
    });
    let corpus = corpus();
    let load = Load {
        transport: Transport::Tcp,
        sources: 1,
        timeout: Duration::from_millis(200),
        ..Load::new(address, Rate::Fixed(100), 0.3, &corpus)
    };
    let report = load.run().unwrap();
    assert!(report.reconnects >= 2, "{report}");
    assert_eq!(report.sent, report.answered + report.lost);
}

#[test]
fn tls_pipelines_and_resumes_against_the_bare_loop() {
    let dir = TempDir::new().unwrap();
    let certificate = Certificate::make(dir.path()).unwrap();
    let security = Security::trusting(&certificate.cert, SERVER_NAME).unwrap();
    let bare = Bare::bind(
        "127.0.0.1:0".parse().unwrap(),
        certificate.server(ALPN_DOT).unwrap(),
    )
    .unwrap();
    let address = bare.address().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || bare.serve(&flag).unwrap());
    let corpus = corpus();
    let load = Load {
        transport: Transport::Tls,
        security: Some(&security),
        // It serves one connection at a time.
        sources: 1,
        ..Load::new(address, Rate::Fixed(1000), 0.2, &corpus)
    };
    let report = load.run().unwrap();
    assert_eq!(
        (report.sent, report.answered, report.lost, report.reconnects),
        (200, 200, 0, 0)
    );
    let report = Load {
        rate: Rate::Max,
        window: 30,
        ..load.clone()
    }
    .run()
    .unwrap();
    assert!(report.answered > 100 && report.lost == 0, "{report}");
    let unknown = Load {
        security: None,
        ..load
    };
    assert!(unknown.run().is_err(), "nobody to trust");

    let config = Arc::new(security.client(ALPN_DOT, true).unwrap());
    let kinds: Vec<_> = (0..3)
        .map(|_| {
            let tcp = connect_from(address.ip(), address).unwrap();
            let mut stream = Stream::tls(tcp, &config, &security).unwrap();
            let reply = stream.ask(corpus.query(0)).unwrap();
            assert!(corpus.answered_by(0, &reply));
            let kind = stream.handshake_kind();
            stream.close().unwrap();
            kind
        })
        .collect();
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(kinds, [Some(Full), Some(Resumed), Some(Resumed)]);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn a_holder_says_what_it_has_and_what_is_left() {
    let dir = TempDir::new().unwrap();
    let certificate = Certificate::make(dir.path()).unwrap();
    let bare = Bare::bind(
        "127.0.0.1:0".parse().unwrap(),
        certificate.server(ALPN_DOT).unwrap(),
    )
    .unwrap();
    let address = bare.address().unwrap().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || bare.serve(&flag).unwrap());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"));
    // The bare loop serves one connection at a time.
    command
        .args([
            "hold",
            "--kind",
            "DoT",
            "--count",
            "1",
            "--servers",
            &address,
        ])
        .arg("--ca")
        .arg(&certificate.cert);
    let mut process = Process::start(command, &[], &dir.path().join("log")).unwrap();
    let began = std::time::Instant::now();
    while !process.output().contains("held 1\n") {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{}",
            process.output()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    loadtest::sys::signal(process.pid(), 15);
    while !process.has_ended() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(process.output(), "held 1\nalive 1\n");
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}
