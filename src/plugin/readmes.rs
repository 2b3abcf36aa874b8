//! Every directive's README: it has the parts that a reader looks for, and its Corefiles load.

use std::path::{Path, PathBuf};

use crate::plugin::BUILT;
use crate::testing::Host;

/// Folders of directives with the text of their READMEs.
fn readmes() -> Vec<(PathBuf, String)> {
    let rooms = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plugin");
    let entries = std::fs::read_dir(rooms)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir());
    folders
        .map(|folder| {
            let file = folder.join("README.md");
            let text = std::fs::read_to_string(&file);
            (
                folder,
                text.unwrap_or_else(|error| panic!("{}: {error}", file.display())),
            )
        })
        .collect()
}

/// The text between "```corefile" and "```".
fn corefiles(readme: &str) -> Vec<&str> {
    let blocks = readme.split("```corefile\n").skip(1);
    blocks
        .filter_map(|block| block.split("```").next())
        .collect()
}

#[test]
fn corefiles_in_readmes_load() {
    let mut loaded = 0;
    for (folder, readme) in readmes() {
        for corefile in corefiles(&readme) {
            if let Err(error) = Host::new(corefile) {
                panic!("{}: {error}\n{corefile}", folder.display());
            }
            loaded += 1;
        }
    }
    assert!(loaded >= BUILT.len(), "only {loaded} Corefiles were found");
}

#[test]
fn readmes_have_all_parts() {
    for (folder, readme) in readmes() {
        for part in ["## Name", "## Description", "## Syntax", "## Examples"] {
            assert!(readme.contains(part), "{}: no {part}", folder.display());
        }
    }
}
