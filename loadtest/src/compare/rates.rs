//! How hard servers are asked: fixed rates, and those that are found by measuring first.
//!
//! Runs on: pure.

use std::fmt;
use std::str::FromStr;

use crate::pace::Rate;

/// A word of `--rates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A closed loop, or an open one at this rate.
    Rate(Rate),
    /// Open loops at steps below and above the fastest server's peak.
    Sweep,
    /// An open loop at half of what the slowest rival can take.
    HalfKnee,
    /// An open loop at three times each server's own peak.
    Overload,
}

impl FromStr for Ask {
    type Err = String;

    fn from_str(text: &str) -> Result<Ask, String> {
        match text {
            "sweep" => Ok(Ask::Sweep),
            "half-knee" => Ok(Ask::HalfKnee),
            "3x" => Ok(Ask::Overload),
            _ => text.parse().map(Ask::Rate).map_err(|e| {
                format!("{e}; the other words of --rates are \"sweep\", \"half-knee\" and \"3x\"")
            }),
        }
    }
}

/// A rate with where it comes from: the column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// How fast.
    pub rate: Rate,
    /// Why that fast.
    pub origin: Origin,
}

/// Where a rate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The command line.
    Given,
    /// Half of the slowest rival's knee.
    HalfKnee,
    /// A step of a sweep.
    Sweep,
}

impl Label {
    /// A rate of the command line.
    pub fn given(rate: Rate) -> Label {
        Label {
            rate,
            origin: Origin::Given,
        }
    }

    /// Sorts a table: as in [`Origin`], the closed loop first, then by rate.
    pub fn order(self) -> (Origin, u64) {
        let rate = match self.rate {
            Rate::Max => 0,
            Rate::Fixed(qps) => qps,
        };
        (self.origin, rate)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Given => write!(f, "{}", self.rate),
            Origin::HalfKnee => write!(f, "half-knee {}", self.rate),
            Origin::Sweep => write!(f, "sweep {}", self.rate),
        }
    }
}

/// The rates of a sweep for a fastest server with this peak.
pub fn sweep(peak: f64) -> Vec<Label> {
    SWEEP
        .iter()
        .map(|part| Label {
            rate: Rate::Fixed(round(peak * part)),
            origin: Origin::Sweep,
        })
        .collect()
}

/// The knee: the highest rate of which a server still answers `KNEE_SHARE`, found by halving the range between a rate that it
/// surely takes and one that it surely does not. `answered` measures the share that is answered at a rate.
pub fn knee(
    peak: f64,
    mut answered: impl FnMut(u64) -> Result<f64, String>,
) -> Result<f64, String> {
    let (mut low, mut high) = (peak * KNEE_LOW, peak * KNEE_HIGH);
    for _ in 0..KNEE_STEPS {
        let middle = (low + high) / 2.0;
        if answered(round(middle))? >= KNEE_SHARE {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Half of the smallest knee, as a rate.
pub fn half_of_slowest(knees: &[f64]) -> Option<Label> {
    let slowest = knees.iter().copied().reduce(f64::min)?;
    Some(Label {
        rate: Rate::Fixed(round(slowest / 2.0)),
        origin: Origin::HalfKnee,
    })
}

/// To whole thousands where there are some, so that tables stay readable.
fn round(qps: f64) -> u64 {
    if qps >= 10_000.0 {
        (qps / 1000.0).round() as u64 * 1000
    } else {
        (qps as u64).max(1)
    }
}

/// Below the knee, around it, and well above.
const SWEEP: [f64; 6] = [0.25, 0.5, 0.75, 0.9, 1.1, 1.4];
const KNEE_SHARE: f64 = 0.99;
const KNEE_LOW: f64 = 0.1;
const KNEE_HIGH: f64 = 1.3;
/// Finds the knee to a fortieth of the peak.
pub const KNEE_STEPS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_rates() {
        assert_eq!("max".parse(), Ok(Ask::Rate(Rate::Max)));
        assert_eq!("30000".parse(), Ok(Ask::Rate(Rate::Fixed(30_000))));
        assert_eq!("half-knee".parse(), Ok(Ask::HalfKnee));
        assert_eq!("3x".parse(), Ok(Ask::Overload));
        let error = "fast".parse::<Ask>().unwrap_err();
        assert!(
            error.contains("\"fast\"") && error.contains("sweep"),
            "{error}"
        );
    }

    #[test]
    fn the_knee_is_where_answers_stay_behind() {
        for true_knee in [120_000.0, 200_000.0, 241_000.0] {
            let found = knee(220_000.0, |qps| Ok((true_knee / qps as f64).min(1.0))).unwrap();
            assert!(
                (found - true_knee).abs() < 220_000.0 / 25.0,
                "{found} for {true_knee}"
            );
        }
        assert!(knee(1.0, |_| Err("gone".into())).is_err());
        let label = half_of_slowest(&[200_000.0, 90_400.0]).unwrap();
        assert_eq!(label.to_string(), "half-knee 45000");
        assert_eq!(half_of_slowest(&[]), None);
    }

    #[test]
    fn a_sweep_goes_beyond_the_peak() {
        let labels = sweep(400_000.0);
        assert_eq!(labels[0].to_string(), "sweep 100000");
        assert_eq!(labels.last().unwrap().rate, Rate::Fixed(560_000));
        assert!(
            labels
                .windows(2)
                .all(|pair| pair[0].order() < pair[1].order())
        );
        assert!(Label::given(Rate::Max).order() < labels[0].order());
    }
}
