//! The shape of the repository: folders and rows, formatting, Corefiles on the front pages. Those in the plugins' READMEs are loaded by a
//! test beside the table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use percoredns::corefile::RealSource;
use percoredns::plugin::{self, Carry};
use percoredns::server::config::{self, Surroundings};
use percoredns::tune::Settings;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folder and name of every built directive. A name that is a word of Rust has an underscore on its folder.
fn directives() -> Vec<(PathBuf, String)> {
    let folder = |name: &str| {
        let folder = root().join("src/plugin");
        let plain = folder.join(name);
        if plain.is_dir() {
            plain
        } else {
            folder.join(format!("{name}_"))
        }
    };
    plugin::list()
        .lines()
        .map(|name| (folder(name), name.to_owned()))
        .collect()
}

#[test]
fn every_directive_has_a_folder_and_every_folder_a_directive() {
    let listed: Vec<PathBuf> = directives().into_iter().map(|(folder, _)| folder).collect();
    for entry in fs::read_dir(root().join("src/plugin")).unwrap() {
        let entry = entry.unwrap();
        // A build without a feature has folders without rows.
        if entry.file_type().unwrap().is_dir() && cfg!(all(feature = "template", feature = "view"))
        {
            let path = entry.path();
            assert!(
                listed.contains(&path),
                "{} has no row in the table",
                path.display()
            );
        }
    }
    for (folder, name) in directives() {
        for file in ["README.md", "mod.rs", "setup.rs"] {
            assert!(
                folder.join(file).is_file(),
                "src/plugin/{name}/{file} is missing"
            );
        }
    }
}

#[test]
fn corefiles_of_the_front_pages_load() {
    for file in ["README.md", "DIFFERENCES.md", "tuning/README.md"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for block in blocks(&text, "corefile") {
            if let Err(error) = load(block) {
                panic!("{file}: {error}\n{block}");
            }
        }
    }
}

#[test]
fn the_readme_names_what_is_not_built() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, list) = text.split_once("Not built yet:").expect("the list");
    let (list, _) = list.split_once("\n\nWhere ").expect("its end");
    let built = plugin::list();
    for name in plugin::PLUGIN_CFG {
        let is_listed = list.contains(&format!("*{name}*"));
        let is_built = built.lines().any(|line| line == *name);
        if cfg!(all(feature = "template", feature = "view")) {
            assert_ne!(is_listed, is_built, "{name}");
        }
    }
}

#[test]
fn the_changelog_names_what_is_built() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    for name in plugin::list().lines() {
        assert!(words.contains(&name), "{name}");
    }
}

#[test]
fn the_source_is_formatted() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut fmt = Command::new(cargo);
    fmt.args(["fmt", "--all", "--check"]).current_dir(root());
    match fmt.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) if done.status.code() == Some(1) => {
            panic!(
                "run cargo fmt --all:\n{}",
                String::from_utf8_lossy(&done.stdout)
            )
        }
        // Status 101: cargo knows no such command.
        _ => crate::server::skip("rustfmt is not installed (rustup component add rustfmt)"),
    }
}

#[test]
fn no_marker_of_unfinished_work_is_left() {
    let mut files = Vec::new();
    for folder in ["src", "tests/it", "bench", "loadtest/src"] {
        gather(&root().join(folder), "rs", &mut files);
    }
    let markers = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimple", "mented!"].concat(),
        ["to", "do!("].concat(),
    ];
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for marker in &markers {
            assert!(!text.contains(marker), "{}: {marker}", file.display());
        }
    }
}

#[test]
fn the_script_for_network_cards_shows_what_it_would_do() {
    let script = |args: &[&str]| {
        let mut command = Command::new("bash");
        command.arg(root().join("tuning/nic.sh")).args(args);
        let done = command.output().expect("bash");
        let text = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(text).expect("UTF-8"))
    };
    let (code, text) = script(&["--dry-run", "lo", "0-1,33"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("00000002,00000003 > /sys/class/net/lo/"),
        "{text}"
    );
    assert_eq!(script(&["--dry-run", "nope0"]).0, Some(1));
    assert_eq!(script(&["--dry-run", "lo", "0-x"]).0, Some(1));
    assert_eq!(script(&[]).0, Some(2));
}

#[test]
fn kernel_settings_name_what_exists() {
    let text = fs::read_to_string(root().join("tuning/sysctl.conf")).unwrap();
    for line in text.lines().filter(|line| line.contains(" = ")) {
        let (key, _) = line.split_once(" = ").unwrap();
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        // In a container the part of net that belongs to the host is hidden.
        if !Path::new(&path).exists() {
            crate::server::skip(&format!("{key} is not visible here"));
        }
        assert!(key.starts_with("net."), "{key}");
    }
}

/// Text of the fenced blocks of that language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block))
        .collect()
}

/// Builds a configuration; nothing is bound. Files that the example names need not exist where the directive allows that.
pub fn load(corefile: &str) -> Result<(), String> {
    let around = Surroundings {
        source: &RealSource,
        tune: &Arc::new(Settings::floating(2)),
        default_port: 53,
        carry: &Carry::default(),
        generation: 1,
    };
    config::build("README", corefile, &around).map(drop)
}

fn gather(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}
