//! Paths as text, cleaned as Go's `filepath.Clean` does: the names of imported files appear in error messages.

/// `path` relative to `dir`, without `.`, `..` and doubled slashes. `dir` is absolute.
pub(in crate::corefile) fn absolute(dir: &str, path: &str) -> String {
    if path.starts_with('/') {
        clean(path)
    } else {
        join(dir, path)
    }
}

/// `dir/path`, cleaned.
pub(in crate::corefile) fn join(dir: &str, path: &str) -> String {
    clean(&format!("{dir}/{path}"))
}

/// The shortest equivalent of an absolute path, by its text alone.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (dir, path, want) in [
            ("/etc/coredns", "conf.d/*", "/etc/coredns/conf.d/*"),
            ("/etc/coredns", "../x", "/etc/x"),
            ("/etc", "/a//b/./c/", "/a/b/c"),
            ("/", "../../x", "/x"),
            ("/", "", "/"),
        ] {
            assert_eq!(absolute(dir, path), want, "{dir} {path}");
        }
    }
}
