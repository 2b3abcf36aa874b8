//! The page that shows a comparison: one file that needs nothing from anywhere, with plots drawn here.
//!
//! Runs on: pure.

mod plots;
mod svg;

use std::fmt::Write;

use crate::compare::profile;
use crate::compare::result::{Row, Table};
use crate::figures::evaluate::{Figure, Verdict};
use crate::pace::Rate;
use crate::servers::{PERCOREDNS, program_of};
use crate::stage::ECHO;
use crate::stats::Spread;

/// The whole page; without figures it has no table of them.
pub fn page(title: &str, table: &Table, figures: &[Figure]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}</title><style>{1}</style></head><body>\n<h1>{0}</h1>\n",
        escape(title),
        include_str!("style.css")
    );
    out.push_str("<dl>");
    for (name, value) in table.shape.lines() {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&value));
    }
    out.push_str("</dl>\n");
    if !figures.is_empty() {
        out.push_str(&figures_table(figures));
    }
    out.push_str(&plots::all(table));
    out.push_str(&profiles_table(table));
    out.push_str(&rivals_table(table));
    section(
        &mut out,
        "Everything measured",
        "As in the terminal. x echo: CPU per answer over the bare echo's in the same rounds. machine us: busy time of the whole \
         machine per answer, interrupts included, without what sending the queries costs when nobody answers.",
        &text_tables(table),
    );
    let notes: Vec<String> = table
        .notes
        .iter()
        .map(|note| format!("<li>{}</li>", escape(note)))
        .collect();
    section(
        &mut out,
        "Notes",
        "What was left out and why, and what servers agreed on before anything was measured.",
        &format!("<ul>{}</ul>", notes.concat()),
    );
    out.push_str("</body></html>\n");
    out
}

fn figures_table(figures: &[Figure]) -> String {
    let count = |verdict| figures.iter().filter(|f| f.verdict() == verdict).count();
    let mut rows = String::new();
    for figure in figures {
        let verdict = figure.verdict();
        let class = match verdict {
            Verdict::Met => "good",
            Verdict::Missed => "bad",
            Verdict::Unmeasured => "none",
        };
        let _ = write!(
            rows,
            "<tr><td class=\"l w\">{}</td><td class=\"l w\">{}</td><td>{}</td><td class=\"w\">{}</td><td class=\"l {class}\">{}</td></tr>",
            escape(figure.bar.what),
            escape(&figure.detail),
            escape(&figure.bar.limit.show(figure.bar.unit)),
            escape(&figure.measured()),
            verdict.word()
        );
    }
    let mut out = String::new();
    section(
        &mut out,
        "Figures against their bars",
        &format!(
            "{} met, {} missed, {} not measured. The median is judged; smallest and largest of the rounds stand behind it.",
            count(Verdict::Met),
            count(Verdict::Missed),
            count(Verdict::Unmeasured)
        ),
        &format!(
            "<div class=\"wide\"><table><tr><th class=\"l\">figure</th><th class=\"l\">taken at</th><th>bar</th><th>measured</th><th class=\"l\">verdict</th></tr>{rows}</table></div>"
        ),
    );
    out
}

/// percoredns against each rival at the same work: wins and losses alike.
fn rivals_table(table: &Table) -> String {
    let mut rows = String::new();
    for row in table.sorted() {
        if program_of(&row.key.server) != PERCOREDNS {
            continue;
        }
        for rival in rivals(table, row) {
            let Some(ratio) = Spread::of(table.ratios(row, &rival.key.server)) else {
                continue;
            };
            let tail = |row: &Row| row.median(|s| s.latency_us[3]);
            // In a closed loop it is the queue of the window.
            let tails = match row.key.label.rate {
                Rate::Max => f64::NAN,
                Rate::Fixed(_) => tail(row) / tail(rival),
            };
            let _ = write!(
                rows,
                "<tr><td class=\"l\">{}</td><td class=\"l\">{}</td><td>{}</td><td class=\"l\">{}</td><td class=\"l\">{}</td><td>{:.2}x ({:.2}..{:.2})</td>{}<td>{}</td>{}</tr>",
                row.key.scenario.name,
                row.key.label,
                row.key.sources,
                escape(&row.key.server),
                escape(&rival.key.server),
                ratio.median,
                ratio.min,
                ratio.max,
                outcome(ratio.median),
                ratio_text(tails),
                outcome(tails)
            );
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::new();
    section(
        &mut out,
        "Against each rival",
        "CPU per answer and p99.9, percoredns over the rival in the same rounds. Below 0.97 is a win, above 1.03 a loss. Latencies of a \
         closed loop (max) are its own queue and not judged.",
        &format!(
            "<div class=\"wide\"><table><tr><th class=\"l\">scenario</th><th class=\"l\">rate</th><th>sources</th><th class=\"l\">server</th><th class=\"l\">rival</th><th>CPU</th><th class=\"l\"></th><th>p99.9</th><th class=\"l\"></th></tr>{rows}</table></div>"
        ),
    );
    out
}

/// What each profile sets, and below what came of it, against the first profile.
fn profiles_table(table: &Table) -> String {
    let Some(first) = table.profiles.first() else {
        return String::new();
    };
    let cell = |tag: &str, text: &str| format!("<{tag} class=\"l\">{}</{tag}>", escape(text));
    let own = |name: &str| format!("{PERCOREDNS}[{name}]");
    let mut rows = cell("th", "");
    for profile in &table.profiles {
        rows.push_str(&cell("th", &own(&profile.name)));
    }
    for setting in profile::names(&table.profiles) {
        let _ = write!(rows, "</tr><tr>{}", cell("td", setting));
        for profile in &table.profiles {
            let value = profile.value(setting);
            rows.push_str(&match value == first.value(setting) {
                true => cell("td", value.unwrap_or("-")),
                false => format!(
                    "<td class=\"l\"><b>{}</b></td>",
                    escape(value.unwrap_or("-"))
                ),
            });
        }
    }
    let is_first = |row: &&Row| row.key.server == own(&first.name);
    for row in table.sorted().into_iter().filter(is_first) {
        let key = &row.key;
        let what = format!(
            "CPU us/answer: {}, {}, {} sources",
            key.scenario.name, key.label, key.sources
        );
        let _ = write!(rows, "</tr><tr>{}", cell("td", &what));
        for profile in &table.profiles {
            let name = own(&profile.name);
            rows.push_str(
                &table
                    .beside(row, &name)
                    .map_or_else(|| cell("td", "-"), |other| profile_cell(table, row, other)),
            );
        }
    }
    let mut out = String::new();
    section(
        &mut out,
        "Profiles",
        "What each profile sets (bold where it differs from the first), and what came of it: CPU per answer, and how much that is of the first \
         profile's in the same rounds.",
        &format!("<div class=\"wide\"><table><tr>{rows}</tr></table></div>"),
    );
    out
}

fn profile_cell(table: &Table, first: &Row, row: &Row) -> String {
    let us = row.median(|s| s.cpu_us);
    let ratio = Spread::of(table.ratios(row, &first.key.server)).map_or(f64::NAN, |s| s.median);
    let class = match ratio {
        r if r < 0.97 => " good",
        r if r > 1.03 => " bad",
        _ => "",
    };
    format!(
        "<td class=\"l{class}\">{us:.2} ({})</td>",
        ratio_text(ratio)
    )
}

fn rivals<'a>(table: &'a Table, row: &'a Row) -> impl Iterator<Item = &'a Row> {
    table.sorted().into_iter().filter(move |other| {
        other.key.server != ECHO
            && program_of(&other.key.server) != PERCOREDNS
            && (other.key.scenario, other.key.label, other.key.sources)
                == (row.key.scenario, row.key.label, row.key.sources)
    })
}

fn outcome(ratio: f64) -> &'static str {
    match ratio {
        r if r < 0.97 => "<td class=\"l good\">win</td>",
        r if r > 1.03 => "<td class=\"l bad\">LOSS</td>",
        r if r.is_nan() => "<td class=\"l none\">-</td>",
        _ => "<td class=\"l\">even</td>",
    }
}

fn ratio_text(ratio: f64) -> String {
    match ratio.is_finite() {
        true => format!("{ratio:.2}x"),
        false => "-".to_owned(),
    }
}

/// The tables of the terminal as HTML.
fn text_tables(table: &Table) -> String {
    let mut out = String::new();
    for (header, rows, left) in table.tables() {
        let class = |i: usize| if i < left { " class=\"l\"" } else { "" };
        let cells = |tag: &str, cells: &[String]| -> String {
            let cells = cells.iter().enumerate();
            cells
                .map(|(i, cell)| format!("<{tag}{}>{}</{tag}>", class(i), escape(cell)))
                .collect()
        };
        let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
        let body: String = rows
            .iter()
            .map(|row| format!("<tr>{}</tr>", cells("td", row)))
            .collect();
        let _ = write!(
            out,
            "<div class=\"wide\"><table><tr>{}</tr>{body}</table></div><br>",
            cells("th", &header)
        );
    }
    out
}

fn section(out: &mut String, title: &str, about: &str, body: &str) {
    let (title, about) = (escape(title), escape(about));
    let _ = writeln!(
        out,
        "<section><h2>{title}</h2><p>{about}</p>{body}</section>"
    );
}

/// Text as it may stand in HTML, attributes included.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
