//! One line on a terminal that says what runs, how much is left and for how long.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Steps done of those planned.
pub struct Progress {
    began: Instant,
    done: usize,
    total: usize,
    is_terminal: bool,
}

impl Progress {
    /// A bar of `total` steps that begins now.
    pub fn new(total: usize) -> Progress {
        Progress {
            began: Instant::now(),
            done: 0,
            total,
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows that the next step runs, and what it is.
    pub fn show(&mut self, what: &str) {
        if self.is_terminal {
            let line = line(self.done, self.total, self.began.elapsed(), what);
            eprint!("\r\x1b[K{line}");
        }
        self.done += 1;
    }

    /// Says something that stays, above the bar.
    pub fn say(&self, what: &str) {
        self.clear();
        eprintln!("{what}");
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(done: usize, total: usize, elapsed: Duration, what: &str) -> String {
    let total = total.max(done + 1);
    let filled = done * BAR / total;
    let left = match done {
        0 => String::new(),
        _ => {
            let each = elapsed / done as u32;
            format!(", {} left", minutes(each * (total - done) as u32))
        }
    };
    format!(
        "[{}{}] {}/{total}{left} {what}",
        "#".repeat(filled),
        " ".repeat(BAR - filled),
        done + 1
    )
}

/// A duration as `1:05`.
pub fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

const BAR: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_steps_left() {
        let text = line(10, 40, Duration::from_secs(20), "zone");
        assert!(text.starts_with("[#######  "), "{text}");
        assert!(text.ends_with("11/40, 1:00 left zone"), "{text}");
        assert!(!line(0, 4, Duration::ZERO, "a").contains("left"));
        // More steps than planned do not break the bar.
        assert!(line(9, 4, Duration::from_secs(9), "a").contains("10/10"));
    }
}
