//! The search path of a file in the manner of resolv.conf.

use std::io;

use crate::corefile::ZoneName;
use crate::limits;
use crate::upstream::target;

/// The path that the file gives; the last `search` or `domain` line counts, as in Go's resolver. What is no name is left out.
///
/// # Errors
/// The file cannot be read.
pub fn search(path: &str) -> io::Result<Vec<ZoneName>> {
    Ok(parse(&target::read_file(path)?))
}

fn parse(text: &str) -> Vec<ZoneName> {
    let mut search = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let most = match words.next() {
            Some("search") => limits::SEARCH_ELEMENTS,
            Some("domain") => 1,
            _ => continue,
        };
        search = words.filter_map(ZoneName::new).take(most).collect();
    }
    search
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        for (text, expected) in [
            ("", ""),
            ("nameserver 192.0.2.1\noptions ndots:5\n", ""),
            (
                "search Corp.example  example.org.\n",
                "corp.example. example.org.",
            ),
            ("search a\nsearch b c\n", "b. c."),
            ("search a\n domain b c\n", "b."),
            ("domain a\nsearch\n", ""),
            ("#search a\n;search b\n# search c\nsearchd d", ""),
            ("search a..b c .", "c. ."),
        ] {
            let found: Vec<String> = parse(text).iter().map(ZoneName::to_string).collect();
            assert_eq!(found.join(" "), expected, "{text:?}");
        }
        let many = format!("search {}", "a ".repeat(limits::SEARCH_ELEMENTS + 1));
        assert_eq!(parse(&many).len(), limits::SEARCH_ELEMENTS);
    }
}
