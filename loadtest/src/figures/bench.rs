//! The figures of percoredns in process, which its own benches print.

use std::path::Path;
use std::process::Command;

/// Values by name: criterion's medians in nanoseconds (`serve/cached`), instruction counts as `instructions/NAME`.
#[derive(Default)]
pub struct Bench {
    values: Vec<(String, f64)>,
    missing: String,
}

impl Bench {
    /// Reads what `cargo bench` printed.
    pub fn parse(text: &str) -> Bench {
        let mut bench = Bench {
            missing: "the bench printed no such line".to_owned(),
            ..Bench::default()
        };
        // Criterion breaks the line behind a long name.
        let mut name = "";
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some(time) = words.iter().position(|word| *word == "time:") {
                if let (Some(first), true) = (words.first(), time > 0) {
                    name = first;
                }
                if let Some(ns) = median_ns(&words[time + 1..]) {
                    bench.values.push((name.to_owned(), ns));
                }
            } else if let [case, count, "instructions", ..] = words[..] {
                let count = count.parse().ok();
                bench
                    .values
                    .extend(count.map(|n| (format!("instructions/{case}"), n)));
            } else if let [only] = words[..] {
                name = only;
            }
        }
        bench
    }

    /// Runs the benches of the workspace that this program was built from.
    pub fn run() -> Bench {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        if !root.join("bench").is_dir() {
            return Bench::without(
                "the sources are not here; give the output of cargo bench with --bench FILE",
            );
        }
        let mut text = String::new();
        let runs: [&[&str]; 3] = [
            &["bench", "--bench", "path", "--", "serve/cached"],
            &["bench", "--bench", "path", "--", "cache/hit"],
            &["bench", "--bench", "instructions"],
        ];
        for words in runs {
            eprintln!("cargo {}", words.join(" "));
            match Command::new(&cargo).args(words).current_dir(&root).output() {
                // A count above its tolerance is a failure of the bench, and still a count.
                Ok(output) => text.push_str(&String::from_utf8_lossy(&output.stdout)),
                Err(e) => {
                    return Bench::without(&format!(
                        "cargo: {e}; give the output of cargo bench with --bench FILE"
                    ));
                }
            }
        }
        Bench::parse(&text)
    }

    /// No values, for this reason.
    pub fn without(reason: &str) -> Bench {
        Bench {
            values: Vec::new(),
            missing: reason.to_owned(),
        }
    }

    /// The value of this name.
    pub fn value(&self, name: &str) -> Option<f64> {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map(|&(_, value)| value)
    }

    /// Why a value is not there.
    pub fn missing(&self) -> String {
        self.missing.clone()
    }
}

/// The middle of `[low unit middle unit high unit]`.
fn median_ns(words: &[&str]) -> Option<f64> {
    let value: f64 = words.get(2)?.parse().ok()?;
    let factor = match *words.get(3)? {
        "ps" => 1e-3,
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        _ => return None,
    };
    Some(value * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_benches_are_read() {
        let bench = Bench::parse(
            "serve/cached            time:   [170.10 ns 177.25 ns 180.00 ns]\n\
             serve/cached_chain_with_a_long_name\n                        time:   [1.10 µs 1.20 µs 1.30 µs]\n\
             cached             2063 instructions an answer, baseline 2063 (+0.0 %) ok\n",
        );
        assert_eq!(bench.value("serve/cached"), Some(177.25));
        assert_eq!(
            bench.value("serve/cached_chain_with_a_long_name"),
            Some(1200.0)
        );
        assert_eq!(bench.value("instructions/cached"), Some(2063.0));
        assert_eq!(bench.value("zone"), None);
        assert!(bench.missing().contains("no such line"));
        assert_eq!(Bench::without("quick").missing(), "quick");
    }
}
