//! File name patterns, as Go's `filepath.Glob` reads them.

/// Paths that match the absolute `pattern`. `list` names the entries of a directory in lexical order, `exists` tells
/// whether a path without wildcards is there.
pub(super) fn glob(
    pattern: &str,
    list: &dyn Fn(&str) -> Vec<String>,
    exists: &dyn Fn(&str) -> bool,
) -> Result<Vec<String>, String> {
    if !has_meta(pattern) {
        return Ok(exists(pattern)
            .then(|| pattern.to_owned())
            .into_iter()
            .collect());
    }
    let mut dirs = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let wanted = Pattern::compile(part)?;
        let mut found = Vec::new();
        for dir in &dirs {
            if !has_meta(part) {
                found.push(format!("{dir}/{part}"));
                continue;
            }
            let names = list(if dir.is_empty() { "/" } else { dir });
            found.extend(
                names
                    .iter()
                    .filter(|name| wanted.matches(name))
                    .map(|name| format!("{dir}/{name}")),
            );
        }
        dirs = found;
    }
    dirs.retain(|path| exists(path));
    Ok(dirs)
}

/// Whether text is more than a literal path.
pub(super) fn has_meta(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// One path element of a pattern.
struct Pattern(Vec<Item>);

enum Item {
    Literal(char),
    One,
    Many,
}

impl Pattern {
    fn compile(text: &str) -> Result<Self, String> {
        const BAD: &str = "syntax error in pattern";
        let mut items = Vec::new();
        let mut chars = text.chars();
        while let Some(ch) = chars.next() {
            items.push(match ch {
                '*' => Item::Many,
                '?' => Item::One,
                '\\' => Item::Literal(chars.next().ok_or(BAD)?),
                // The importer refuses a whole `[...]`, so this one is not closed.
                '[' => return Err(BAD.to_owned()),
                ch => Item::Literal(ch),
            });
        }
        Ok(Self(items))
    }

    /// Greedy with one point to return to, so the time is at most the product of the lengths.
    fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut item, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(item) {
                Some(Item::Many) => {
                    retry = Some((item, at));
                    item += 1;
                    continue;
                }
                Some(Item::One) => {
                    (item, at) = (item + 1, at + 1);
                    continue;
                }
                Some(Item::Literal(ch)) if *ch == name[at] => {
                    (item, at) = (item + 1, at + 1);
                    continue;
                }
                _ => {}
            }
            let Some((star, from)) = retry else {
                return false;
            };
            retry = Some((star, from + 1));
            (item, at) = (star + 1, from + 1);
        }
        self.0[item..].iter().all(|item| matches!(item, Item::Many))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_match_as_in_go() {
        for (pattern, name, want) in [
            ("*", "", true),
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", true),
            ("*.conf", "a.conf~", false),
            ("a*b*", "axxbyy", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "\u{e9}", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("db.*", "db.example.org", true),
        ] {
            assert_eq!(
                Pattern::compile(pattern).unwrap().matches(name),
                want,
                "{pattern} {name}"
            );
        }
        assert!(Pattern::compile("a[b").is_err());
        assert!(Pattern::compile("a\\").is_err());
    }

    #[test]
    fn wildcards_may_stand_in_directories() {
        let list = |dir: &str| -> Vec<String> {
            let names: &[&str] = match dir {
                "/etc" => &["a", "b"],
                "/etc/a" => &["x.conf", "y"],
                _ => &[],
            };
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let exists = |path: &str| matches!(path, "/etc/a/x.conf" | "/etc/b/x.conf" | "/etc/a/y");
        let check = |pattern: &str, want: &[&str]| {
            assert_eq!(glob(pattern, &list, &exists).unwrap(), want, "{pattern}")
        };
        check("/etc/*/x.conf", &["/etc/a/x.conf", "/etc/b/x.conf"]);
        check("/etc/a/*", &["/etc/a/x.conf", "/etc/a/y"]);
        check("/etc/a/*.conf", &["/etc/a/x.conf"]);
        check("/etc/a/y", &["/etc/a/y"]);
        check("/etc/a/z", &[]);
    }
}
