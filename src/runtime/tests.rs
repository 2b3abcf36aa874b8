//! One battery for both backends; the glommio run skips, loudly, where io_uring is refused.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crate::runtime::clock::fake::FakeClock;
use crate::runtime::{
    Backend, TaskThreadSpec, TcpListener, TcpStream, UdpSocket, Wish, block_on, choose, local,
    mailbox, oneshot, packet_mailbox, panics, sleep, sleep_until, spawn, start_task_thread, stream,
    timeout, yield_now,
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

macro_rules! battery {
    ($($test:ident),+ $(,)?) => {
        mod epoll {
            $(#[test] fn $test() { super::$test(super::Backend::Epoll); })+
        }
        mod glommio {
            $(#[test] fn $test() {
                match super::choose(super::Wish::Glommio) {
                    Ok(choice) => super::$test(choice.backend),
                    Err(refusal) => eprintln!("SKIPPED {}: {refusal}", stringify!($test)),
                }
            })+
        }
    };
}

battery!(
    a_client_hears_what_comes_after_a_short_read,
    accept_loop_serves_many,
    connect_to_a_closed_port_is_refused,
    dropped_read_takes_nothing,
    dropped_tasks_run_their_destructors,
    fake_clock_jumps_to_the_next_timer,
    local_channels_and_permits,
    mailbox_loses_nothing,
    nested_executors_are_refused,
    oneshot_crosses_threads,
    packet_mailbox_from_a_task,
    panic_ends_one_task_only,
    panic_of_main_reaches_join,
    sleeps_end_in_order,
    sleep_does_not_delay_a_receive,
    tcp_echo_of_two_tasks,
    tcp_large_write_with_slow_reader,
    thousand_tasks,
    timeout_cuts_a_wait,
    udp_echo,
    udp_reports_a_closed_port,
    wake_from_another_thread_is_quick,
    yields_let_others_run,
);

fn on<T: 'static>(backend: Backend, main: impl Future<Output = T> + 'static) -> T {
    block_on(backend, async move {
        timeout(Duration::from_secs(30), main)
            .await
            .expect("the test hangs")
    })
    .unwrap()
}

// === tasks and timers ===

fn thousand_tasks(backend: Backend) {
    let sum = on(backend, async {
        let sum = Rc::new(Cell::new(0));
        for value in 0..1_000 {
            let sum = Rc::clone(&sum);
            spawn(async move {
                yield_now().await;
                sleep(Duration::from_micros(value % 7 * 100)).await;
                sum.set(sum.get() + value);
            });
        }
        while sum.get() < 499_500 {
            sleep(Duration::from_millis(1)).await;
        }
        sum.get()
    });
    assert_eq!(sum, 499_500);
}

fn sleeps_end_in_order(backend: Backend) {
    let (order, elapsed) = on(backend, async {
        let start = Instant::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        let event = local::Event::new();
        for ms in [30, 10, 20, 0] {
            let order = Rc::clone(&order);
            let event = event.clone();
            spawn(async move {
                sleep(Duration::from_millis(ms)).await;
                order.borrow_mut().push(ms);
                event.notify();
            });
        }
        while order.borrow().len() < 4 {
            event.wait().await;
        }
        (order.take(), start.elapsed())
    });
    assert_eq!(order, [0, 10, 20, 30]);
    assert!(elapsed >= Duration::from_millis(30), "{elapsed:?}");
}

fn timeout_cuts_a_wait(backend: Backend) {
    on(backend, async {
        let start = Instant::now();
        let never = std::future::pending::<()>();
        assert!(timeout(Duration::from_millis(5), never).await.is_err());
        assert!(start.elapsed() >= Duration::from_millis(5));
        assert_eq!(timeout(Duration::from_secs(9), async { 3 }).await, Ok(3));
        sleep_until(0).await;
    });
}

fn yields_let_others_run(backend: Backend) {
    let trace = on(backend, async {
        let trace = Rc::new(RefCell::new(Vec::new()));
        let other = Rc::clone(&trace);
        spawn(async move {
            other.borrow_mut().push("spawned");
            yield_now().await;
            other.borrow_mut().push("again");
        });
        trace.borrow_mut().push("main");
        yield_now().await;
        trace.borrow_mut().push("main again");
        yield_now().await;
        trace.take()
    });
    assert_eq!(trace, ["main", "spawned", "main again", "again"]);
}

fn fake_clock_jumps_to_the_next_timer(backend: Backend) {
    let start = Instant::now();
    // Before all timers: on a machine that started a minute ago the faked clock is far ahead.
    let clock = FakeClock::start();
    on(backend, async {
        let before = crate::runtime::clock::now_ns();
        sleep(Duration::from_secs(20)).await;
        let slept = crate::runtime::clock::now_ns() - before;
        assert_eq!(slept, 20 * crate::runtime::clock::SECOND);
        let late = timeout(Duration::from_secs(5), sleep(Duration::from_secs(6))).await;
        assert!(late.is_err());
    });
    drop(clock);
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn panic_ends_one_task_only(backend: Backend) {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("expected by the test: in a destructor");
        }
    }
    let before = panics();
    on(backend, async {
        let survivor = Rc::new(Cell::new(false));
        let (tx, rx) = local::oneshot::<()>();
        spawn(async move {
            let _held = tx;
            panic!("expected by the test");
        });
        spawn(async {
            let _held = PanicsInDrop;
            yield_now().await;
        });
        let flag = Rc::clone(&survivor);
        spawn(async move {
            sleep(Duration::from_millis(3)).await;
            flag.set(true);
        });
        assert_eq!(rx.await, Err(local::Gone));
        sleep(Duration::from_millis(6)).await;
        assert!(survivor.get());
    });
    assert!(panics() >= before + 2);
}

fn panic_of_main_reaches_join(backend: Backend) {
    let handle = start_task_thread(spec(backend), || async {
        yield_now().await;
        panic!("expected by the test: main");
    })
    .unwrap();
    let payload = handle.join().unwrap_err();
    assert_eq!(
        payload.downcast_ref::<&str>(),
        Some(&"expected by the test: main")
    );
}

fn dropped_tasks_run_their_destructors(backend: Backend) {
    struct Flag(Rc<Cell<u32>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            spawn(async {});
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let count = Rc::clone(&dropped);
    on(backend, async move {
        for wait in [Duration::from_secs(60), Duration::ZERO] {
            let flag = Flag(Rc::clone(&count));
            spawn(async move {
                let _flag = flag;
                let socket = UdpSocket::connect(LOOPBACK, LOOPBACK_DISCARD).unwrap();
                sleep(wait).await;
                let _ = socket.recv(&mut [0; 16]).await;
            });
        }
        sleep(Duration::from_millis(5)).await;
    });
    assert_eq!(dropped.get(), 2);
}

const LOOPBACK_DISCARD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

fn nested_executors_are_refused(backend: Backend) {
    on(backend, async move {
        assert!(block_on(Backend::Epoll, async {}).is_err());
        assert!(block_on(backend, async {}).is_err());
        yield_now().await;
    });
    block_on(backend, async {}).unwrap();
}

// === between threads ===

fn spec(backend: Backend) -> TaskThreadSpec {
    TaskThreadSpec {
        name: "test-task".to_owned(),
        cpu: None,
        backend,
    }
}

fn mailbox_loses_nothing(backend: Backend) {
    const PER_SENDER: u64 = 25_000;
    let (tx, mut rx) = mailbox::<u64>(128);
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let tx = tx.clone();
            thread::spawn(move || {
                for value in 0..PER_SENDER {
                    let mut value = value;
                    while let Err(back) = tx.try_send(value) {
                        value = back;
                        thread::yield_now();
                    }
                    if value % 1_000 == 0 {
                        thread::sleep(Duration::from_micros(200));
                    }
                }
            })
        })
        .collect();
    drop(tx);
    let (count, sum) = on(backend, async move {
        let (mut count, mut sum) = (0, 0);
        while let Some(value) = rx.recv().await {
            count += 1;
            sum += value;
        }
        (count, sum)
    });
    for sender in senders {
        sender.join().unwrap();
    }
    assert_eq!(count, 4 * PER_SENDER);
    assert_eq!(sum, 4 * (PER_SENDER * (PER_SENDER - 1) / 2));
}

fn packet_mailbox_from_a_task(backend: Backend) {
    let (tx, mut rx) = packet_mailbox::<u32>(4).unwrap();
    let handle = start_task_thread(spec(backend), move || async move {
        for value in 0..100 {
            while tx.try_send(value).is_err() {
                sleep(Duration::from_micros(50)).await;
            }
        }
    })
    .unwrap();
    let mut next = 0;
    while next < 100 {
        let mut poll = libc::pollfd {
            fd: rx.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 10_000) }, 1);
        rx.drain_wakeup();
        while let Some(value) = rx.try_recv() {
            assert_eq!(value, next);
            next += 1;
        }
    }
    handle.join().unwrap();
}

fn oneshot_crosses_threads(backend: Backend) {
    let (ask, mut asked) = mailbox::<(u32, oneshot::Tx<u32>)>(4);
    let server = start_task_thread(spec(backend), move || async move {
        while let Some((value, answer)) = asked.recv().await {
            if value != 13 {
                answer.send(value * 2).unwrap();
            }
        }
    })
    .unwrap();
    on(backend, async move {
        for value in 0..100 {
            let (tx, rx) = oneshot();
            ask.try_send((value, tx)).ok().unwrap();
            let expect = (value != 13).then_some(value * 2);
            assert_eq!(rx.await.ok(), expect);
        }
    });
    server.join().unwrap();
}

/// A wake-up of a thread at rest takes two context switches, not a timer tick. The bound is wide for busy machines.
fn wake_from_another_thread_is_quick(backend: Backend) {
    static SENT_AT: AtomicU64 = AtomicU64::new(0);
    let (tx, mut rx) = mailbox::<u64>(256);
    let sender = thread::spawn(move || {
        for _ in 0..200 {
            thread::sleep(Duration::from_micros(500));
            tx.try_send(crate::runtime::clock::now_ns()).unwrap();
        }
        SENT_AT.fetch_add(1, Ordering::Relaxed);
    });
    let mut waits = on(backend, async move {
        let mut waits = Vec::new();
        while let Some(sent) = rx.recv().await {
            waits.push(crate::runtime::clock::now_ns() - sent);
        }
        waits
    });
    sender.join().unwrap();
    waits.sort_unstable();
    let median = waits[waits.len() / 2];
    eprintln!("{backend}: median wake-up {} us", median / 1_000);
    assert!(median < 2_000_000, "median wake-up {median} ns");
}

fn local_channels_and_permits(backend: Backend) {
    on(backend, async {
        let (tx, rx) = local::oneshot();
        spawn(async move {
            sleep(Duration::from_millis(1)).await;
            tx.send("value").unwrap();
        });
        assert_eq!(rx.await, Ok("value"));
        let (tx, rx) = local::oneshot();
        drop(rx);
        assert_eq!(tx.send(1), Err(1));

        let semaphore = local::Semaphore::new(2);
        let (inside, most, left) = (
            Rc::new(Cell::new(0)),
            Rc::new(Cell::new(0)),
            Rc::new(Cell::new(0)),
        );
        for index in 0..50 {
            let semaphore = semaphore.clone();
            let (inside, most, left) = (Rc::clone(&inside), Rc::clone(&most), Rc::clone(&left));
            spawn(async move {
                let acquired =
                    timeout(Duration::from_micros(index * 50), semaphore.acquire()).await;
                if acquired.is_ok() {
                    inside.set(inside.get() + 1);
                    most.set(most.get().max(inside.get()));
                    sleep(Duration::from_millis(20)).await;
                    inside.set(inside.get() - 1);
                }
                left.set(left.get() + 1);
            });
        }
        while left.get() < 50 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(most.get(), 2);
        let permits = [semaphore.try_acquire(), semaphore.try_acquire()];
        assert!(permits.iter().all(Option::is_some));
        assert!(semaphore.try_acquire().is_none());
    });
}

// === sockets ===

fn udp_echo_server() -> SocketAddr {
    let socket = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
            if count == 4 && &buffer[..4] == b"stop" {
                break;
            }
            let _ = socket.send_to(&buffer[..count], peer);
        }
    });
    address
}

fn udp_echo(backend: Backend) {
    let server = udp_echo_server();
    on(backend, async move {
        let socket = UdpSocket::connect(stream::any_local(server), server).unwrap();
        assert_ne!(socket.local_addr().unwrap().port(), 0);
        let mut buffer = [0; 512];
        for round in 0u16..500 {
            let sent = vec![round as u8; usize::from(round) + 1];
            assert_eq!(socket.send(&sent).await.unwrap(), sent.len());
            let count = socket.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..count], &sent[..sent.len().min(512)]);
        }
        // Two datagrams at once: the second is not lost by the wake-up of the first.
        socket.send(b"one").await.unwrap();
        socket.send(b"").await.unwrap();
        sleep(Duration::from_millis(2)).await;
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 3);
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 0);
        socket.send(b"stop").await.unwrap();
    });
}

fn udp_reports_a_closed_port(backend: Backend) {
    let closed = {
        let socket = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        socket.local_addr().unwrap()
    };
    on(backend, async move {
        let socket = UdpSocket::connect(LOOPBACK, closed).unwrap();
        socket.send(b"hello").await.unwrap();
        let error = socket.recv(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

fn sleep_does_not_delay_a_receive(backend: Backend) {
    let server = udp_echo_server();
    let mut waits = on(backend, async move {
        let mut waits = Vec::new();
        for _ in 0..50 {
            let socket = UdpSocket::connect(LOOPBACK, server).unwrap();
            let start = crate::runtime::clock::now_ns();
            socket.send(b"ping").await.unwrap();
            timeout(Duration::from_secs(2), socket.recv(&mut [0; 16]))
                .await
                .unwrap()
                .unwrap();
            waits.push(crate::runtime::clock::now_ns() - start);
        }
        let socket = UdpSocket::connect(LOOPBACK, server).unwrap();
        socket.send(b"stop").await.unwrap();
        waits
    });
    let first = waits[0];
    waits.sort_unstable();
    let median = waits[waits.len() / 2];
    eprintln!(
        "{backend}: exchange under a timer: first {} us, median {} us",
        first / 1_000,
        median / 1_000
    );
    assert!(median < 5_000_000, "median exchange {median} ns");
}

fn tcp_echo_of_two_tasks(backend: Backend) {
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 700];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                count => stream.write_all(&buffer[..count]).unwrap(),
            }
        }
    });
    on(backend, async move {
        let stream = TcpStream::connect(Some(Ipv4Addr::LOCALHOST.into()), address)
            .await
            .unwrap();
        assert_eq!(stream.peer_addr(), address);
        let stream = Rc::new(RefCell::new(stream));
        let reader = Rc::clone(&stream);
        let (done, finished) = local::oneshot();
        spawn(async move {
            let mut received = 0usize;
            let mut buffer = [0; 333];
            loop {
                let count = poll_fn(|cx| reader.borrow_mut().poll_read(cx, &mut buffer))
                    .await
                    .unwrap();
                if count == 0 {
                    break;
                }
                for octet in &buffer[..count] {
                    assert_eq!(*octet, (received % 251) as u8);
                    received += 1;
                }
            }
            done.send(received).unwrap();
        });
        let octets: Vec<u8> = (0..100_000).map(|at| (at % 251) as u8).collect();
        for mut part in octets.chunks(1_111) {
            while !part.is_empty() {
                let count = poll_fn(|cx| stream.borrow_mut().poll_write(cx, part))
                    .await
                    .unwrap();
                part = &part[count..];
            }
        }
        stream.borrow().shutdown_write().unwrap();
        assert_eq!(finished.await, Ok(100_000));
    });
    server.join().unwrap();
}

fn tcp_large_write_with_slow_reader(backend: Backend) {
    const LENGTH: usize = 16 << 20;
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        thread::sleep(Duration::from_millis(50));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    on(backend, async move {
        let mut stream = TcpStream::connect(None, address).await.unwrap();
        stream.write_all(&vec![7; LENGTH]).await.unwrap();
    });
    assert_eq!(server.join().unwrap(), LENGTH);
}

fn connect_to_a_closed_port_is_refused(backend: Backend) {
    let closed = {
        let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
        listener.local_addr().unwrap()
    };
    on(backend, async move {
        let error = TcpStream::connect(None, closed).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

fn accept_loop_serves_many(backend: Backend) {
    const CLIENTS: usize = 64;
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let clients = thread::spawn(move || {
        for round in 0..CLIENTS {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let sent = [round as u8; 9];
            stream.write_all(&sent).unwrap();
            let mut got = [0; 9];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(got, sent);
        }
    });
    on(backend, async move {
        let listener = TcpListener::from_std(listener).unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        let closed = Rc::new(Cell::new(0));
        for _ in 0..CLIENTS {
            // A wait for a connection that is given up must not cost one.
            let accepted = match timeout(Duration::from_micros(20), listener.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => listener.accept().await,
            };
            let (mut stream, peer) = accepted.unwrap();
            assert!(peer.ip().is_loopback());
            let closed = Rc::clone(&closed);
            spawn(async move {
                let mut buffer = [0; 64];
                loop {
                    let count = stream.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    stream.write_all(&buffer[..count]).await.unwrap();
                }
                closed.set(closed.get() + 1);
            });
        }
        while closed.get() < CLIENTS {
            sleep(Duration::from_millis(1)).await;
        }
    });
    clients.join().unwrap();
}

fn dropped_read_takes_nothing(backend: Backend) {
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let server = udp_echo_server();
    on(backend, async move {
        let mut stream = TcpStream::connect(None, address).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let socket = UdpSocket::connect(LOOPBACK, server).unwrap();
        let mut buffer = [0; 16];
        for round in 0u8..20 {
            let wait = Duration::from_micros(u64::from(round) * 40);
            assert!(timeout(wait, stream.read(&mut buffer)).await.is_err());
            peer.write_all(&[round; 5]).unwrap();
            let mut got = 0;
            while got < 5 {
                let count = stream.read(&mut buffer[got..]).await.unwrap();
                assert!(buffer[got..got + count].iter().all(|octet| *octet == round));
                got += count;
            }
            assert!(timeout(wait, socket.recv(&mut buffer)).await.is_err());
            socket.send(&[round; 3]).await.unwrap();
            assert_eq!(socket.recv(&mut buffer).await.unwrap(), 3);
            assert_eq!(buffer[0], round);
        }
        // Dropping a socket with a read under way, then opening others on the same descriptor number.
        for _ in 0..50 {
            let mut stream = TcpStream::connect(None, address).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut pending: Pin<Box<dyn Future<Output = _>>> =
                Box::pin(async move { stream.read(&mut [0; 8]).await });
            std::future::poll_fn(|cx| {
                assert!(pending.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            yield_now().await;
            drop(pending);
            let _ = peer.write_all(b"late");
        }
        socket.send(b"stop").await.unwrap();
    });
}

fn a_client_hears_what_comes_after_a_short_read(backend: Backend) {
    on(backend, async {
        let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let mut stream = TcpStream::connect(None, address).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut buffer = [0; 16];
        // The first read never waits, so that the connect is all that did.
        for round in 1..4 {
            peer.write_all(&[round]).unwrap();
            sleep(Duration::from_millis(2)).await;
            let read = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await;
            assert_eq!(read.expect("it is woken").unwrap(), 1);
            assert_eq!(buffer[0], round);
            yield_now().await;
        }
    });
}
