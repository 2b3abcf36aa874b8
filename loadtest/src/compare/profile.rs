//! The settings of a `-tune` file, to be shown beside what they changed.
//!
//! Runs on: pure.

use std::path::Path;

use crate::json::Json;
use crate::machine;

/// A profile and what it sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// As in brackets behind percoredns.
    pub name: String,
    /// (setting with its section, value), in the order of the file.
    pub settings: Vec<(String, String)>,
}

impl Profile {
    /// Reads the file; percoredns itself says whether it is right.
    pub fn read(path: &Path) -> Result<Profile, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Profile {
            name: machine::profile_name(path),
            settings: settings(&text),
        })
    }

    /// The value of a setting.
    pub fn value(&self, setting: &str) -> Option<&str> {
        let found = self.settings.iter().find(|(name, _)| name == setting);
        found.map(|(_, value)| value.as_str())
    }

    /// As a JSON object.
    pub fn json(&self) -> Json {
        let setting = |(name, value): &(String, String)| {
            Json::List(vec![name.as_str().into(), value.as_str().into()])
        };
        Json::Object(vec![
            ("name", self.name.as_str().into()),
            (
                "settings",
                Json::List(self.settings.iter().map(setting).collect()),
            ),
        ])
    }
}

/// Every setting that some profile has, in the order of first appearance.
pub fn names(profiles: &[Profile]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in profiles.iter().flat_map(|profile| &profile.settings) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// The lines `key = value` of a TOML text. Sections of a list (`[[core]]`) are told apart by their number.
fn settings(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut section, mut lists) = (String::new(), Vec::<String>::new());
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some(list) = line.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) {
            let number = lists.iter().filter(|known| *known == list).count();
            lists.push(list.to_owned());
            section = format!("{list}[{number}].");
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, value)) = line.split_once('=') {
            found.push((format!("{section}{}", key.trim()), value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_carry_their_section() {
        let text = "# node\nbatch = 64 # few\n[cache]\nshare = 0.5\n[[core]]\ncpu = 0\n[[core]]\ncpu = 1\n";
        let found = settings(text);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["batch", "cache.share", "core[0].cpu", "core[1].cpu"]
        );
        assert_eq!(found[0].1, "64");
    }

    #[test]
    fn names_of_all_profiles_come_once() {
        let profile = |name: &str, text| Profile {
            name: name.into(),
            settings: settings(text),
        };
        let both = [profile("a", "x = 1\ny = 2"), profile("b", "y = 3\nz = 4")];
        assert_eq!(super::names(&both), ["x", "y", "z"]);
        assert_eq!((both[1].value("y"), both[1].value("x")), (Some("3"), None));
    }
}
