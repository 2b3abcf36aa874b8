//! Tasks, periodic work and signals of the control thread.

use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_future_runs_and_its_panic_is_counted() {
    let control = Control::start().unwrap();
    let before = panics().value();
    control.spawn("test task", async { panic!("on purpose") });
    control.work("test work", || panic!("{}", "on purpose too"));
    let (done, wait) = mpsc::channel();
    for _ in 0..500 {
        let done = done.clone();
        control.spawn("after the panic", async move { done.send(()).unwrap() });
        wait.recv_timeout(PATIENCE).unwrap();
        if panics().value() >= before + 2 {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the panics were not counted");
}

#[test]
fn periodic_work_repeats_after_a_panic_and_stops_with_its_guard() {
    let control = Control::start().unwrap();
    let (ticks, wait) = mpsc::channel();
    let mut count = 0;
    let guard = control.every(Duration::from_millis(1), "test tick", move || {
        count += 1;
        ticks.send(count).unwrap();
        assert!(count != 2, "on purpose");
    });
    for expect in 1..=4 {
        assert_eq!(wait.recv_timeout(PATIENCE), Ok(expect));
    }
    drop(guard);
    // The closure is freed with the task, and its sender with it.
    while wait.recv_timeout(PATIENCE) != Err(mpsc::RecvTimeoutError::Disconnected) {}
}

#[test]
fn periodic_work_never_overlaps_itself() {
    let control = Control::start().unwrap();
    let running = Arc::new(AtomicBool::new(false));
    let (ticks, wait) = mpsc::channel();
    let _guard = control.every(Duration::from_millis(1), "slow tick", move || {
        assert!(!running.swap(true, Ordering::SeqCst), "two at once");
        thread::sleep(Duration::from_millis(5));
        running.store(false, Ordering::SeqCst);
        let _ = ticks.send(());
    });
    for _ in 0..5 {
        wait.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn the_first_tick_comes_after_one_interval() {
    let control = Control::start().unwrap();
    let ticks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ticks);
    let guard = control.every(Duration::from_secs(3600), "hourly", move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    thread::sleep(Duration::from_millis(20));
    drop(guard);
    assert_eq!(ticks.load(Ordering::SeqCst), 0);
}

#[test]
fn a_stopped_task_ends() {
    let control = Control::start().unwrap();
    let (alive, wait) = mpsc::channel::<()>();
    let task = control.spawn("sleeper", async move {
        let _alive = alive;
        std::future::pending::<()>().await;
    });
    task.stop();
    assert_eq!(
        wait.recv_timeout(PATIENCE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let control = Control::start().unwrap();
    let (alive, wait) = mpsc::channel::<()>();
    control.spawn("sleeper", async move {
        let _alive = alive;
        std::future::pending::<()>().await;
    });
    drop(control.clone());
    assert_eq!(wait.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(control);
    assert_eq!(
        wait.recv_timeout(PATIENCE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
}

#[test]
fn signals_arrive_and_hangup_is_ignored() {
    let control = Control::start().unwrap();
    let mut signals = control.signals().unwrap();
    for (name, expect) in [
        ("HUP", None),
        ("USR2", Some(Signal::Upgrade)),
        ("USR1", Some(Signal::Reload)),
    ] {
        let status = Command::new("kill")
            .args(["-s", name, &process::id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        if expect.is_some() {
            assert_eq!(signals.next_blocking(), expect);
        }
    }
}
