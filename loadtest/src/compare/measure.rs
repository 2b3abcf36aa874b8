//! Runs of one server: with this program's generator on loopback, or with kxdpgun across a pair of virtual cards.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use crate::corpus;
use crate::kxdpgun::{self, Shot};
use crate::load::{Load, Transport};
use crate::pace::Rate;
use crate::procfs::{self, Snapshot};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::stage::{ECHO, INTERRUPTED, Running, Stage, ZONE};
use crate::sys;
use crate::veth::Veth;

use super::Options;
use super::rates::Label;
use super::sample::{Sample, Seen};

/// The generator of one scenario.
pub struct Gun<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// The work.
    pub scenario: &'static Scenario,
    /// Its stage.
    pub stage: &'a Stage,
    veth: Option<(&'a Veth, PathBuf)>,
    // (rate, sources, microseconds of machine time for a query that nobody answers)
    baselines: RefCell<Vec<(Label, usize, f64)>>,
}

impl<'a> Gun<'a> {
    /// A generator for this stage; with a pair of cards it is kxdpgun.
    pub fn new(
        options: &'a Options,
        scenario: &'static Scenario,
        stage: &'a Stage,
        veth: Option<&'a Veth>,
    ) -> Result<Gun<'a>, String> {
        let asked = if scenario.is_hot { 1 } else { stage.names };
        let queries = |veth| {
            let text = corpus::corpus_text(scenario.kind, asked, ZONE);
            kxdpgun::write_queries(&text, stage.dir.path()).map(|path| (veth, path))
        };
        Ok(Gun {
            options,
            scenario,
            stage,
            veth: veth.map(queries).transpose()?,
            baselines: RefCell::new(Vec::new()),
        })
    }

    /// A run of this program's own generator, ready to be changed.
    pub fn load(&self, server: SocketAddr, rate: Rate, sources: usize, seconds: f64) -> Load<'a> {
        Load {
            transport: self.scenario.transport,
            sources,
            spin: self.options.spin,
            fresh_percent: self.scenario.fresh_percent,
            ..Load::new(server, rate, seconds, &self.stage.corpus)
        }
    }

    /// Asks a server and counts, without looking at CPU time.
    pub fn shoot(
        &self,
        server: &Running,
        rate: Rate,
        sources: usize,
        seconds: f64,
    ) -> Result<Seen, String> {
        self.shoot_at(server.address, &server.name, rate, sources, seconds)
            .map(|(seen, _)| seen)
    }

    /// The same, with the CPU time of a generator that is another process.
    fn shoot_at(
        &self,
        address: SocketAddr,
        name: &str,
        rate: Rate,
        sources: usize,
        seconds: f64,
    ) -> Result<(Seen, u64), String> {
        let told = |e: String| format!("{name}: {e}");
        if let Some((veth, queries)) = &self.veth {
            let qps = match rate {
                Rate::Fixed(qps) => qps,
                Rate::Max => MORE_THAN_ANYBODY_TAKES_QPS,
            };
            let shot = Shot {
                card: veth.card(),
                server: address,
                qps,
                seconds,
                queries,
                cpu: self.options.client_cpu,
                dir: self.stage.dir.path(),
            };
            let (mut seen, cpu_ns) = shot.run(self.scenario).map_err(told)?;
            if name == ECHO {
                seen.right = seen.answered;
            }
            return Ok((seen, cpu_ns));
        }
        let report = self
            .load(address, rate, sources, seconds)
            .run()
            .map_err(|e| told(e.to_string()))?;
        Ok((self.seen(&report, name), 0))
    }

    fn seen(&self, report: &Report, name: &str) -> Seen {
        Seen::of(report, self.scenario, name == ECHO)
    }

    /// A measured run, repeated while others use the machine.
    pub fn measure(
        &self,
        server: &Running,
        label: Label,
        sources: usize,
    ) -> Result<Sample, String> {
        let mut sample = self.measure_once(server, label, sources)?;
        for _ in 0..REPEATS {
            if sample.foreign <= self.options.foreign || sys::stop_requested() {
                break;
            }
            sample = self.measure_once(server, label, sources)?;
        }
        if sys::stop_requested() {
            return Err(INTERRUPTED.to_owned());
        }
        Ok(sample)
    }

    fn measure_once(
        &self,
        server: &Running,
        label: Label,
        sources: usize,
    ) -> Result<Sample, String> {
        if self.veth.is_none() {
            self.shoot(server, label.rate, sources, WARM_SECONDS)?;
        }
        let pid = server.process.pid();
        let asked_before = self.stage.origin.queries();
        let before = Snapshot::take(pid);
        let (seen, ours_ns) = self.shoot_at(
            server.address,
            &server.name,
            label.rate,
            sources,
            self.options.seconds,
        )?;
        let usage = Snapshot::take(pid).since(&before, procfs::cpu_count(), ours_ns);
        if seen.answered == 0 && !sys::stop_requested() {
            return Err(format!(
                "{} answers nothing any more:\n{}",
                server.name,
                server.process.last_words()
            ));
        }
        let baseline_us = self.baseline(label, sources, &seen, pid)?;
        let upstream = self.stage.origin.queries() - asked_before;
        Ok(Sample::new(&seen, usage, baseline_us, upstream))
    }

    /// What sending one query costs the machine at the rate of `seen` when nobody answers; measured once for each rate. Not a
    /// number over connections, where nothing can be sent to nobody. `idle` is any server that runs.
    fn baseline(
        &self,
        label: Label,
        sources: usize,
        seen: &Seen,
        idle: u32,
    ) -> Result<f64, String> {
        if self.scenario.transport != Transport::Udp {
            return Ok(f64::NAN);
        }
        let known = self.baselines.borrow();
        let found = known.iter().find(|k| (k.0, k.1) == (label, sources));
        if let Some(&(_, _, baseline_us)) = found {
            return Ok(baseline_us);
        }
        drop(known);
        let qps = ((seen.sent as f64 / seen.seconds.max(1e-9)) as u64).max(1);
        let mut baseline_us = f64::INFINITY;
        for _ in 0..=REPEATS {
            let (us, foreign) = self.baseline_once(qps, sources, idle)?;
            // Other load can only add to it.
            baseline_us = baseline_us.min(us);
            if foreign <= self.options.foreign {
                break;
            }
        }
        self.baselines
            .borrow_mut()
            .push((label, sources, baseline_us));
        Ok(baseline_us)
    }

    /// Microseconds of the machine for each query, and the share of it that others used; `idle` is the server that is not asked now.
    fn baseline_once(&self, qps: u64, sources: usize, idle: u32) -> Result<(f64, f64), String> {
        let before = Snapshot::take(idle);
        let (sent, ours_ns) = match &self.veth {
            Some((veth, _)) => {
                let nobody = SocketAddr::from((veth.nobody(), 53));
                let rate = Rate::Fixed(qps);
                let (seen, ours_ns) =
                    self.shoot_at(nobody, "nobody", rate, sources, BASELINE_SECONDS)?;
                (seen.sent, ours_ns)
            }
            None => (self.shoot_at_sink(qps, sources)?, 0),
        };
        let usage = Snapshot::take(idle).since(&before, procfs::cpu_count(), ours_ns);
        let us = usage.machine_ns as f64 / 1000.0 / sent.max(1) as f64;
        Ok((us, usage.foreign))
    }

    /// Sends to a socket that nobody reads, which soon drops everything.
    fn shoot_at_sink(&self, qps: u64, sources: usize) -> Result<u64, String> {
        let sink = UdpSocket::bind("127.0.0.1:0").map_err(|e| format!("sink: {e}"))?;
        let address = sink.local_addr().map_err(|e| format!("sink: {e}"))?;
        let load = Load {
            timeout: SINK_TIMEOUT,
            ..self.load(address, Rate::Fixed(qps), sources, BASELINE_SECONDS)
        };
        load.run()
            .map(|report| report.sent)
            .map_err(|e| format!("sink: {e}"))
    }
}

/// A void run is tried again this often.
const REPEATS: usize = 2;
/// Unmeasured load before each run, so that caches and clocks are as they will be.
const WARM_SECONDS: f64 = 0.2;
const BASELINE_SECONDS: f64 = 1.0;
/// Short, so that ids are free again at any rate.
const SINK_TIMEOUT: Duration = Duration::from_millis(10);
/// kxdpgun has no closed loop: offered this much, a server answers what it can.
const MORE_THAN_ANYBODY_TAKES_QPS: u64 = 1_500_000;
