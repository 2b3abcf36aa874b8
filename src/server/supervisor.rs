//! The life of the process after the flags: start, signals, reload, lameduck, end. Runs on the main thread.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::config::{self, Built, Config, Surroundings};
use super::cores::Cores;
use super::panics;
use super::reload_watch::ReloadWatch;
use super::sockets::Sockets;
use super::tuned::Tuned;
use crate::admin::Bound;
use crate::cli::{Flags, Input};
use crate::control::{Control, PeriodicGuard, Signal};
use crate::corefile::RealSource;
use crate::plugin::{Carry, Lifecycle, Started};
use crate::runtime::raise_open_files;
use crate::telemetry::log;
use crate::{cli, version};

/// Runs the server until it is told to stop; returns the exit code.
///
/// # Errors
/// What kept it from starting, for standard error.
pub fn run(flags: &Flags, input: Input) -> Result<u8, String> {
    panics::install();
    let control =
        Control::start().map_err(|error| format!("cannot start the control thread: {error}"))?;
    let signals = Events::listen(&control)?;
    raise_open_files();
    let tuned = Tuned::start(flags)?;
    // Starts the log's thread from here: started by a core it would inherit that core's CPU and nice value.
    log::flush();
    let mut server = Server {
        flags: flags.clone(),
        input,
        cores: Cores::start(tuned.settings.clone())?,
        tuned,
        control,
        carry: Arc::default(),
        sockets: Sockets::default(),
        generation: 0,
        active: None,
        retire_at: None,
        has_leftovers: false,
        watch: ReloadWatch::default(),
    };
    if let Err(error) = server.start(&signals) {
        // Warnings come before what they may explain.
        log::flush();
        // Told to end while it started: that is what it does.
        return if signals.wants_end(Duration::ZERO) {
            Ok(0)
        } else {
            Err(error)
        };
    }
    let code = server.serve(&signals);
    log::flush();
    Ok(code)
}

/// Everything that lives as long as the process.
struct Server {
    flags: Flags,
    input: Input,
    control: Control,
    cores: Cores,
    carry: Arc<Carry>,
    sockets: Sockets,
    /// The number that the newest configuration got, whether it came to serve or not: no two have the same.
    generation: u64,
    active: Option<Active>,
    /// When old configurations may be forgotten: no query of theirs is left by then.
    retire_at: Option<(Instant, u64)>,
    /// A configuration has gone since the last look: what it alone used goes at the next.
    has_leftovers: bool,
    watch: ReloadWatch,
    tuned: Tuned,
}

/// What belongs to the configuration in force.
struct Active {
    config: Arc<Config>,
    admin: Bound,
    /// Ends the periodic work when dropped.
    _periodic: Vec<PeriodicGuard>,
    lameduck: Duration,
    on_drain: Vec<Box<dyn FnOnce() + Send>>,
    on_stop: Vec<Box<dyn FnOnce() + Send>>,
}

/// How long a query of an old configuration may still run.
const RETIRE_AFTER: Duration = Duration::from_secs(10);
/// What waits for an answer gets this long after the last packet was read.
const GRACE: Duration = Duration::from_secs(5);
/// How often a build is looked at; most end before the first look.
const BUILD_TICK: Duration = Duration::from_millis(1);
/// How often threads are looked after.
const TICK: Duration = Duration::from_millis(200);

impl Server {
    fn start(&mut self, events: &Events) -> Result<(), String> {
        let input = self.input.clone();
        let mut built = self.build(&input, events)?;
        if built.config.blocks.is_empty() {
            self.input = Input::builtin(self.flags.dns_port);
            built = self.build(&self.input.clone(), events)?;
        }
        let cores = self.cores.count();
        log::info(
            None,
            format_args!(
                "{cores} data core{}, tasks on {}",
                if cores == 1 { "" } else { "s" },
                self.tuned.backends
            ),
        );
        self.commit(built)?;
        self.tuned.report(&self.sockets);
        if !self.flags.quiet {
            version::lines()
                .lines()
                .for_each(|line| log::plain(format_args!("{line}")));
        }
        self.write_pidfile();
        Ok(())
    }

    /// Builds on a thread of its own: zones may take long to load, and meanwhile signals are heard and cores looked after. A signal to
    /// end leaves the build behind.
    fn build(&mut self, input: &Input, events: &Events) -> Result<Built, String> {
        self.generation += 1;
        let (input, carry) = (input.clone(), self.carry.clone());
        let (tune, default_port) = (self.cores.tune().clone(), self.flags.dns_port);
        let generation = self.generation;
        let build = move || {
            let around = Surroundings {
                source: &RealSource,
                tune: &tune,
                default_port,
                carry: &carry,
                generation,
            };
            config::build(&input.name, &input.text, &around)
        };
        let thread = thread::Builder::new().name("build".into()).spawn(build);
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        while !thread.is_finished() {
            if events.wants_end(BUILD_TICK) {
                return Err("the process is to end".to_owned());
            }
            if let Some(active) = &self.active {
                self.cores.revive(&active.config, &self.sockets)?;
            }
        }
        let outcome = thread.join();
        let built = outcome.unwrap_or_else(|_| Err("a directive panicked".to_owned()))?;
        for warning in &built.warnings {
            log::warning(None, format_args!("{warning}"));
        }
        Ok(built)
    }

    /// Binds, then switches. Up to the switch nothing of the configuration in force is touched.
    fn commit(&mut self, built: Built) -> Result<(), String> {
        let Built {
            config, mut life, ..
        } = built;
        let sockets = Sockets::open(&config, &self.sockets)?;
        let previous = self.active.as_ref().map(|active| &active.admin);
        let admin = std::mem::take(&mut life.endpoints).bind(previous)?;
        let (generation, config) = (config.generation, Arc::new(config));
        if let Err(error) = self.cores.swap(&config, &sockets) {
            if let Some(active) = &self.active {
                // Those that have switched go back; who does not answer now either is looked after as a thread that died.
                let _ = self.cores.swap(&active.config, &self.sockets);
            }
            return Err(error);
        }
        // From here on the new configuration answers; the old sockets close with their last holder.
        let replaced = std::mem::replace(&mut self.sockets, sockets);
        replaced.close_listeners(&self.sockets);
        log::set_debug(config.blocks.iter().any(|block| block.settings.debug));
        panics::want_stacks(config.blocks.iter().any(|block| block.settings.stacktrace));
        admin.serve(&self.control);
        let reloaded = self.active.is_some();
        if !reloaded && !self.flags.quiet {
            self.print_listeners(&config);
        }
        self.watch.configure(life.reload, &config.digest);
        let hooks = std::mem::take(&mut life.on_start);
        let active = self.activate(config, admin, life);
        let old = self.active.replace(active);
        self.run_start_hooks(hooks, reloaded);
        if let Some(old) = old {
            old.on_stop.into_iter().for_each(|stop| stop());
            self.retire_at = Some((Instant::now() + RETIRE_AFTER, generation));
        }
        self.carry.prune();
        Ok(())
    }

    fn activate(&self, config: Arc<Config>, admin: Bound, life: Lifecycle) -> Active {
        let periodic = life.periodic.into_iter();
        let start = |work: crate::plugin::Periodic| {
            self.control.every(work.interval, &work.name, work.work)
        };
        Active {
            config,
            admin,
            _periodic: periodic.map(start).collect(),
            lameduck: life.lameduck,
            on_drain: life.on_drain,
            on_stop: life.on_stop,
        }
    }

    fn run_start_hooks(&self, hooks: Vec<crate::plugin::StartHook>, reloaded: bool) {
        let Some(active) = &self.active else { return };
        let labels = active
            .config
            .listeners
            .iter()
            .map(|listener| listener.label.clone());
        let started = Started {
            control: self.control.clone(),
            listeners: labels.zip(self.sockets.addresses()).collect(),
            reloaded,
        };
        hooks.into_iter().for_each(|hook| hook(&started));
    }

    /// One line for each key and socket, as CoreDNS prints them; the port is the one that was bound.
    fn print_listeners(&self, config: &Config) {
        let groups = self.sockets.addresses().zip(self.sockets.counts());
        for (listener, (addr, count)) in config.listeners.iter().zip(groups) {
            let lines = if listener.sockets.is_some() { count } else { 1 };
            for (key, _) in &listener.lines {
                let host = listener
                    .host
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let real = crate::corefile::address::Key {
                    port: addr.port(),
                    ..key.clone()
                };
                if let Some(warning) = key.zone.syntax_warning() {
                    log::plain(format_args!("{warning}"));
                }
                (0..lines).for_each(|_| log::plain(format_args!("{}", real.listener_line(&host))));
            }
        }
    }

    fn write_pidfile(&self) {
        if self.flags.pidfile.is_empty() {
            return;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644);
        let written = options
            .open(&self.flags.pidfile)
            .and_then(|mut file| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            log::error(
                None,
                format_args!(
                    "Could not write pidfile: open {}: {error}",
                    self.flags.pidfile
                ),
            );
        }
    }

    fn remove_pidfile(&self) {
        if !self.flags.pidfile.is_empty() {
            // It may be gone already, which is what we want.
            let _ = fs::remove_file(&self.flags.pidfile);
        }
    }

    // === events ===

    fn serve(mut self, events: &Events) -> u8 {
        loop {
            match events.next(TICK) {
                None => {}
                Some(Signal::Reload) => {
                    log::info(None, format_args!("SIGUSR1: Reloading"));
                    if let Err(error) = self.reload(events) {
                        log::error(None, format_args!("Restart failed: {error}"));
                    }
                }
                Some(Signal::Terminate) => {
                    log::info(
                        None,
                        format_args!("SIGTERM: Shutting down servers then terminating"),
                    );
                    return self.drain(events);
                }
                Some(Signal::Interrupt) => {
                    log::info(None, format_args!("SIGINT: Shutting down"));
                    return self.drain(events);
                }
                Some(Signal::Quit) => {
                    log::info(None, format_args!("SIGQUIT: Quitting process immediately"));
                    self.remove_pidfile();
                    return 0;
                }
                Some(Signal::Upgrade) => {
                    let text = "SIGUSR2: upgrading the binary in place is not built into percoredns; start the new one beside this one";
                    log::warning(None, format_args!("{text}"));
                }
            }
            if let Err(error) = self.look_after(events) {
                log::fatal(None, format_args!("{error}"));
                self.remove_pidfile();
                return 1;
            }
        }
    }

    fn look_after(&mut self, events: &Events) -> Result<(), String> {
        if let Some((at, generation)) = self.retire_at
            && Instant::now() >= at
        {
            self.cores.retire(generation);
            self.retire_at = None;
            self.has_leftovers = true;
        } else if std::mem::take(&mut self.has_leftovers) {
            self.carry.prune();
        }
        if let Some(active) = &self.active {
            self.cores.revive(&active.config.clone(), &self.sockets)?;
        }
        self.cores.refresh();
        if self.watch.is_due() {
            self.look_for_change(events);
        }
        Ok(())
    }

    /// Reloads from where the Corefile came from.
    fn reload(&mut self, events: &Events) -> Result<(), String> {
        let input = self.load_again()?;
        self.reload_from(input, events)
    }

    fn reload_from(&mut self, input: Input, events: &Events) -> Result<(), String> {
        log::info(None, format_args!("Reloading"));
        self.tuned.look_for_change();
        // Unless it comes to serve, what it made goes with it.
        self.has_leftovers = true;
        let mut built = self.build(&input, events)?;
        if built.config.blocks.is_empty() {
            built = self.build(&Input::builtin(self.flags.dns_port), events)?;
        }
        self.commit(built)?;
        self.input = input;
        log::info(None, format_args!("Reloading complete"));
        Ok(())
    }

    fn load_again(&self) -> Result<Input, String> {
        if self.flags.conf == "stdin" {
            Ok(self.input.clone())
        } else {
            cli::load(&self.flags)
        }
    }

    /// The *reload* plugin's look at the Corefile: a changed one is tried once.
    fn look_for_change(&mut self, events: &Events) {
        let Ok(input) = self.load_again() else { return };
        let digest = match config::digest(&input.name, &input.text) {
            Ok(digest) => digest,
            Err(error) => {
                if self.watch.is_new(&error) {
                    log::warning(
                        Some("reload"),
                        format_args!("Corefile parse failed: {error}"),
                    );
                }
                return;
            }
        };
        if !self.watch.is_new(&digest) {
            return;
        }
        if let Err(error) = self.reload_from(input, events) {
            self.watch.failed();
            log::error(
                Some("reload"),
                format_args!("Corefile changed but reload failed: {error}"),
            );
        }
    }

    /// Goes on answering for the lameduck period, then ends. A second SIGINT ends at once.
    fn drain(mut self, events: &Events) -> u8 {
        let lameduck = self.active.as_mut().map_or(Duration::ZERO, |active| {
            std::mem::take(&mut active.on_drain)
                .into_iter()
                .for_each(|drain| drain());
            active.lameduck
        });
        let deadline = Instant::now() + lameduck;
        while Instant::now() < deadline {
            if let Some(active) = &self.active {
                // A core that dies now is still needed; one that dies again and again is given up.
                let _ = self.cores.revive(&active.config, &self.sockets);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(code) = cut_short(events.next(left.min(TICK))) {
                self.remove_pidfile();
                return code;
            }
        }
        self.remove_pidfile();
        let cores = self.cores;
        let stopping = thread::spawn(move || cores.stop(GRACE));
        while !stopping.is_finished() {
            if let Some(code) = cut_short(events.next(Duration::from_millis(5))) {
                return code;
            }
        }
        self.sockets.close_listeners(&Sockets::default());
        if let Some(active) = self.active {
            active.on_stop.into_iter().for_each(|stop| stop());
        }
        0
    }
}

/// The exit code, where a signal ends an orderly end at once.
fn cut_short(signal: Option<Signal>) -> Option<u8> {
    match signal {
        Some(Signal::Interrupt) => {
            log::info(None, format_args!("SIGINT: Force quit"));
            Some(2)
        }
        Some(Signal::Quit) => {
            log::info(None, format_args!("SIGQUIT: Quitting process immediately"));
            Some(0)
        }
        _ => None,
    }
}

/// Signals, with a time limit for each look.
struct Events {
    signals: mpsc::Receiver<Signal>,
    /// One that came while nothing could be done about it.
    held: Cell<Option<Signal>>,
}

impl Events {
    fn listen(control: &Control) -> Result<Events, String> {
        let mut signals = control
            .signals()
            .map_err(|error| format!("cannot listen for signals: {error}"))?;
        let (sender, receiver) = mpsc::channel();
        let forward = move || {
            while let Some(signal) = signals.next_blocking() {
                if sender.send(signal).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(forward);
        thread.map_err(|error| format!("cannot start the signal thread: {error}"))?;
        Ok(Events::of(receiver))
    }

    fn of(signals: mpsc::Receiver<Signal>) -> Events {
        let held = Cell::new(None);
        Events { signals, held }
    }

    /// Waits for a signal that ends the process, which `next` then returns. A reload that is asked for meanwhile is not forgotten.
    fn wants_end(&self, within: Duration) -> bool {
        let ends = |signal| !matches!(signal, Signal::Reload | Signal::Upgrade);
        let fresh = self.receive(within);
        let signal = match (self.held.take(), fresh) {
            (Some(held), Some(fresh)) if !ends(held) => Some(fresh),
            (held, fresh) => held.or(fresh),
        };
        self.held.set(signal);
        signal.is_some_and(ends)
    }

    /// The next signal. Reloads that were asked for meanwhile are one, and none where the process is to end.
    fn next(&self, within: Duration) -> Option<Signal> {
        let signal = self.held.take().or_else(|| self.receive(within))?;
        if signal != Signal::Reload {
            return Some(signal);
        }
        let mut others = self.signals.try_iter().filter(|next| *next != signal);
        Some(others.next().unwrap_or(signal))
    }

    fn receive(&self, within: Duration) -> Option<Signal> {
        match self.signals.recv_timeout(within) {
            Ok(signal) => Some(signal),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(within);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_that_pile_up_are_one_and_give_way_to_the_end() {
        let check = |sent: &[Signal], expect: &[Signal]| {
            let (sender, receiver) = mpsc::channel();
            sent.iter().for_each(|signal| sender.send(*signal).unwrap());
            let events = Events::of(receiver);
            let next = || events.next(Duration::from_millis(1));
            assert_eq!(std::iter::from_fn(next).collect::<Vec<_>>(), expect);
        };
        use Signal::{Interrupt, Reload, Terminate};
        check(&[Reload, Reload, Reload], &[Reload]);
        check(&[Reload, Reload, Terminate], &[Terminate]);
        check(&[Reload, Interrupt, Interrupt], &[Interrupt, Interrupt]);
        check(&[Terminate, Reload], &[Terminate, Reload]);
    }

    #[test]
    fn signals_during_a_build_are_kept() {
        let check = |sent: &[Signal], ends: bool, expect: &[Signal]| {
            let (sender, receiver) = mpsc::channel();
            sent.iter().for_each(|signal| sender.send(*signal).unwrap());
            let events = Events::of(receiver);
            let looks = (0..4).map(|_| events.wants_end(Duration::from_millis(1)));
            assert_eq!(looks.last(), Some(ends), "{sent:?}");
            let next = || events.next(Duration::from_millis(1));
            assert_eq!(std::iter::from_fn(next).collect::<Vec<_>>(), expect);
        };
        use Signal::{Reload, Terminate};
        check(&[], false, &[]);
        check(&[Reload, Reload], false, &[Reload]);
        check(&[Reload, Terminate], true, &[Terminate]);
        check(&[Terminate, Reload], true, &[Terminate]);
    }
}
