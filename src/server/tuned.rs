//! The settings that the process starts with: those of `-tune`, or the defaults for the cores that it may use.

use std::sync::Arc;

use super::sockets::Sockets;
use crate::cli::Flags;
use crate::runtime::{Backend, choose, cores};
use crate::telemetry::log;
use crate::tune::resolve::{self, Wishes};
use crate::tune::{Machine, Settings, TuneFile, file};

/// Settings, and where they came from.
pub struct Tuned {
    /// For the life of the process.
    pub settings: Arc<Settings>,
    /// How the task threads wait and why, for the line at start.
    pub backends: String,
    wishes: Wishes,
    file: Option<(TuneFile, Machine)>,
}

impl Tuned {
    /// Reads what the command line names.
    ///
    /// # Errors
    /// `FILE:LINE - reason and remedy`, or what is wrong with `-cores` or `-runtime`.
    pub fn start(flags: &Flags) -> Result<Tuned, String> {
        let choice = choose(flags.runtime)?;
        let wishes = Wishes {
            cores: flags.cores.clone(),
            backend: flags.runtime,
        };
        if flags.tune.is_empty() {
            let plan = cores::plan(flags.cores.as_deref())?;
            return Ok(Tuned {
                settings: Arc::new(Settings::of_plan(&plan, choice.backend)),
                backends: choice.to_string(),
                wishes,
                file: None,
            });
        }
        let file = TuneFile::load(&flags.tune)?;
        let machine = Machine::here();
        let settings = resolve::resolve(&file, &machine, &wishes)?;
        let is_chosen = |backend| backend == choice.backend;
        let backends = if settings.cores.iter().all(|core| is_chosen(core.backend)) {
            choice.to_string()
        } else {
            backends_of(&settings, &file.name)
        };
        Ok(Tuned {
            settings: Arc::new(settings),
            backends,
            wishes,
            file: Some((file, machine)),
        })
    }

    /// Says where the machine gives less than the file asks for, or sends packets elsewhere.
    pub fn report(&self, sockets: &Sockets) {
        let Some((file, machine)) = &self.file else {
            return;
        };
        let less = sockets.shortfalls(&self.settings.cores).into_iter();
        for line in less.chain(resolve::misplaced_interrupts(&self.settings, machine)) {
            log::warning(None, format_args!("{}: {line}", file.name));
        }
    }

    /// Says once for each new text of the file that a reload leaves the settings as they are.
    pub fn look_for_change(&mut self) {
        let Some((held, _)) = &mut self.file else {
            return;
        };
        let text = match file::read(&held.name) {
            Ok(text) => text,
            Err(error) => return log::warning(None, format_args!("{error}; its settings stay")),
        };
        if text == held.text {
            return;
        }
        let outcome = TuneFile::parse(&held.name, &text)
            .and_then(|file| resolve::resolve(&file, &Machine::here(), &self.wishes).map(drop));
        match outcome {
            Ok(()) => log::warning(
                None,
                format_args!(
                    "{} has changed; its settings take effect when the process starts anew",
                    held.name
                ),
            ),
            Err(error) => log::warning(
                None,
                format_args!("{error}; the settings in force stay, a new start would fail"),
            ),
        }
        held.text = text;
    }
}

/// `glommio on cores 0-1, epoll on cores 2-3 (FILE)`.
fn backends_of(settings: &Settings, file: &str) -> String {
    let mut parts = Vec::new();
    for backend in [Backend::Glommio, Backend::Epoll] {
        let on: Vec<u32> = (0u32..)
            .zip(&settings.cores)
            .filter(|(_, core)| core.backend == backend)
            .map(|(nth, _)| nth)
            .collect();
        if on.len() == settings.cores.len() {
            return format!("{backend} ({file})");
        }
        if !on.is_empty() {
            let plural = if on.len() == 1 { "" } else { "s" };
            parts.push(format!(
                "{backend} on core{plural} {}",
                cores::show_list(&on)
            ));
        }
    }
    format!("{} ({file})", parts.join(", "))
}
