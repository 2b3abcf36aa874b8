//! Plain-text tables that are valid Markdown, so that a result can be pasted into a README.
//!
//! Runs on: pure.

/// Lays out rows under a header; the first `left` columns are aligned left, the others right.
pub fn render(header: &[&str], rows: &[Vec<String>], left: usize) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        out.push('|');
        for cell in cells {
            out.push_str(&format!(" {cell} |"));
        }
        out.push('\n');
    };
    let pad = |i: usize, cell: &str| {
        let width = widths[i];
        if i < left {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    };
    line(&mut header.iter().enumerate().map(|(i, cell)| pad(i, cell)));
    line(&mut widths.iter().enumerate().map(|(i, &width)| {
        let dashes = "-".repeat(width.saturating_sub(1).max(2));
        if i < left {
            format!("{dashes:<width$}").replace(' ', "-")
        } else {
            format!("{dashes}:")
        }
    }));
    for row in rows {
        line(
            &mut row
                .iter()
                .enumerate()
                .take(widths.len())
                .map(|(i, cell)| pad(i, cell)),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["echo".into(), "1.00".into()],
            vec!["percoredns".into(), "1.1".into()],
        ];
        let expect = "\
| server     | ratio |
| ---------- | ----: |
| echo       |  1.00 |
| percoredns |   1.1 |
";
        assert_eq!(render(&["server", "ratio"], &rows, 1), expect);
    }
}
