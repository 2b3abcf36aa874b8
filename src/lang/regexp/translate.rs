//! Go regexp text to `regex` crate text, in one pass without recursion.

use super::class;
use super::parse_error;

/// The same expression in the dialect of the `regex` crate.
pub(super) struct Translated {
    pub pattern: String,
    /// Group names by number; Go allows more names than the crate does, so they stay outside the pattern.
    pub names: Vec<Option<Box<str>>>,
}

/// Translates, or refuses with Go's error sentence.
pub(super) fn translate(text: &str) -> Result<Translated, String> {
    let mut t = Translator {
        text,
        at: 0,
        out: String::with_capacity(text.len() * 2),
        names: vec![None],
        open: vec![Frame::default()],
        last: Last::Nothing,
    };
    while t.at < text.len() {
        t.step()?;
    }
    if t.open.len() > 1 {
        return Err(parse_error("missing closing )", text));
    }
    Ok(Translated {
        pattern: t.out,
        names: t.names,
    })
}

struct Translator<'t> {
    text: &'t str,
    /// Octet at which the next token starts.
    at: usize,
    out: String,
    names: Vec<Option<Box<str>>>,
    /// Open groups; the first is the whole expression and never closes.
    open: Vec<Frame>,
    last: Last,
}

/// An open group.
#[derive(Default)]
struct Frame {
    /// Largest product of nested repeat counts inside; Go bounds it by 1000.
    repeats: u32,
}

/// What stands before the next token, for the repetition operators.
#[derive(Clone, Copy)]
enum Last {
    /// Start of a group or of an alternative: nothing to repeat.
    Nothing,
    /// Something to repeat, with the product of the repeat counts inside it.
    Atom(u32),
    /// A repetition operator that began at this octet: another one must not follow.
    Repeat(usize),
}

impl<'t> Translator<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(c) = self.rest().chars().next() else {
            return Ok(());
        };
        match c {
            '(' => return self.open_group(),
            ')' => return self.close_group(),
            '|' => {
                self.out.push('|');
                self.last = Last::Nothing;
            }
            '*' | '+' | '?' => return self.repeat(1, 1, &[c]),
            '{' => {
                if let Some((octets, bounds)) = repeat_bounds(self.rest()) {
                    return self.repeat_counted(octets, bounds);
                }
                self.literal(c);
            }
            '[' => {
                let octets = class::bracketed(self.rest(), &mut self.out)?;
                self.at += octets;
                self.last = Last::Atom(1);
                return Ok(());
            }
            '\\' => return self.escape(),
            '^' | '$' | '.' => {
                self.out.push(c);
                self.last = Last::Atom(1);
            }
            _ => self.literal(c),
        }
        self.at += c.len_utf8();
        Ok(())
    }

    /// Writes one character that stands for itself; does not move on.
    fn literal(&mut self, c: char) {
        class::push_char(&mut self.out, u32::from(c));
        self.last = Last::Atom(1);
    }

    // --- repetition

    fn repeat_counted(
        &mut self,
        octets: usize,
        bounds: Option<(u32, Option<u32>)>,
    ) -> Result<(), String> {
        let operator = &self.rest()[..octets];
        let invalid = || parse_error("invalid repeat count", operator);
        let (least, most) = bounds.ok_or_else(invalid)?;
        let count = most.unwrap_or(least);
        if least > REPEAT_MAX || count > REPEAT_MAX || count < least {
            return Err(invalid());
        }
        let chars: Vec<char> = operator.chars().collect();
        self.repeat(octets, count.max(1), &chars)
    }

    fn repeat(&mut self, octets: usize, count: u32, operator: &[char]) -> Result<(), String> {
        let start = self.at;
        let lazy = usize::from(self.rest()[octets..].starts_with('?'));
        let end = start + octets + lazy;
        let inner = match self.last {
            Last::Nothing => {
                return Err(parse_error(
                    "missing argument to repetition operator",
                    &self.text[start..end],
                ));
            }
            Last::Repeat(first) => {
                return Err(parse_error(
                    "invalid nested repetition operator",
                    &self.text[first..end],
                ));
            }
            Last::Atom(inner) => inner,
        };
        let product = inner.saturating_mul(count);
        if product > REPEAT_MAX {
            return Err(parse_error(
                "invalid repeat count",
                &self.text[start..start + octets],
            ));
        }
        self.note_repeats(product);
        self.out.extend(operator);
        if lazy == 1 {
            self.out.push('?');
        }
        self.at = end;
        self.last = Last::Repeat(start);
        Ok(())
    }

    fn note_repeats(&mut self, product: u32) {
        if let Some(frame) = self.open.last_mut() {
            frame.repeats = frame.repeats.max(product);
        }
    }

    // --- groups

    fn open_group(&mut self) -> Result<(), String> {
        if self.rest().starts_with("(?") {
            return self.perl_group();
        }
        self.at += 1;
        self.capture(None);
        Ok(())
    }

    fn capture(&mut self, name: Option<&str>) {
        self.names.push(name.map(Into::into));
        self.out.push('(');
        self.open.push(Frame::default());
        self.last = Last::Nothing;
    }

    fn close_group(&mut self) -> Result<(), String> {
        if self.open.len() < 2 {
            return Err(parse_error("unexpected )", self.text));
        }
        let inner = self.open.pop().map_or(1, |frame| frame.repeats.max(1));
        self.note_repeats(inner);
        self.out.push(')');
        self.at += 1;
        self.last = Last::Atom(inner);
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)` or `(?flags:`.
    fn perl_group(&mut self) -> Result<(), String> {
        let rest = self.rest();
        if let Some(after) = rest
            .strip_prefix("(?P<")
            .or_else(|| rest.strip_prefix("(?<"))
        {
            let Some(end) = after.find('>') else {
                return Err(parse_error("invalid named capture", rest));
            };
            let name = &after[..end];
            let octets = rest.len() - after.len() + end + 1;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(parse_error("invalid named capture", &rest[..octets]));
            }
            self.at += octets;
            self.capture(Some(name));
            return Ok(());
        }
        self.flags()
    }

    fn flags(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let (mut on, mut off) = ([false; 4], [false; 4]);
        let (mut minus, mut saw) = (false, false);
        for (offset, c) in rest.char_indices().skip(2) {
            let read = offset + c.len_utf8();
            if let Some(flag) = FLAGS.iter().position(|f| *f == c) {
                (on[flag], off[flag]) = (!minus, minus);
                saw = true;
                continue;
            }
            match c {
                '-' if !minus => (minus, saw) = (true, false),
                ':' | ')' if !minus || saw => {
                    self.at += read;
                    self.write_flags(on, off, c == ':');
                    return Ok(());
                }
                _ => {
                    return Err(parse_error(
                        "invalid or unsupported Perl syntax",
                        &rest[..read],
                    ));
                }
            }
        }
        Err(parse_error("missing closing )", self.text))
    }

    fn write_flags(&mut self, on: [bool; 4], off: [bool; 4], group: bool) {
        let letters = |set: [bool; 4]| {
            FLAGS
                .into_iter()
                .zip(set)
                .filter(|(_, set)| *set)
                .map(|(flag, _)| flag)
        };
        if group || on.contains(&true) || off.contains(&true) {
            self.out.push_str("(?");
            self.out.extend(letters(on));
            if off.contains(&true) {
                self.out.push('-');
                self.out.extend(letters(off));
            }
            self.out.push(if group { ':' } else { ')' });
        }
        if group {
            self.open.push(Frame::default());
        }
        self.last = Last::Nothing;
    }

    // --- escapes

    fn escape(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let Some(c) = rest.chars().nth(1) else {
            return Err(parse_error("trailing backslash at end of expression", ""));
        };
        let plain = match c {
            'A' => Some(r"\A"),
            'z' => Some(r"\z"),
            // Go's word boundary knows ASCII letters only.
            'b' => Some(r"(?-u:\b)"),
            'B' => Some(r"(?-u:\B)"),
            _ => None,
        };
        if let Some(assertion) = plain {
            self.out.push_str(assertion);
            self.at += 2;
        } else if c == 'Q' {
            self.quoted();
            return Ok(());
        } else if let Some(octets) = class::escaped(rest, &mut self.out)? {
            self.at += octets;
        } else {
            let (value, octets) = class::escaped_char(rest)?;
            class::push_char(&mut self.out, value);
            self.at += octets;
        }
        self.last = Last::Atom(1);
        Ok(())
    }

    /// `\Q...\E`: the text between stands for itself; without `\E` it runs to the end.
    fn quoted(&mut self) {
        let body = &self.rest()[2..];
        let (quoted, octets) = match body.find(r"\E") {
            Some(end) => (&body[..end], end + 2),
            None => (body, body.len()),
        };
        for c in quoted.chars() {
            self.literal(c);
        }
        self.at += 2 + octets;
    }
}

// === helpers ===

/// Octets and bounds of `{n}`, `{n,}` or `{n,m}` at the start of `text`; none when it is not a repetition (then
/// the brace stands for itself). The bounds are none when a number is too large to read.
#[allow(clippy::type_complexity, reason = "three nested meanings, one caller")]
fn repeat_bounds(text: &str) -> Option<(usize, Option<(u32, Option<u32>)>)> {
    let end = text.find('}')?;
    let body = text.get(1..end)?;
    let (least, most) = match body.split_once(',') {
        None => (body, Some(body)),
        Some((least, "")) => (least, None),
        Some((least, most)) => (least, Some(most)),
    };
    for number in [least, most.unwrap_or(least)] {
        let leading_zero = number.len() > 1 && number.starts_with('0');
        if number.is_empty() || leading_zero || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
    }
    let bounds = least.parse().ok().and_then(|least| match most {
        None => Some((least, None)),
        Some(most) => Some((least, Some(most.parse().ok()?))),
    });
    Some((end + 1, bounds))
}

/// Flags that Go knows: case-insensitive, multi-line, dot matches newline, lazy by default.
const FLAGS: [char; 4] = ['i', 'm', 's', 'U'];
/// Go's bound on a repeat count and on the product of nested ones.
const REPEAT_MAX: u32 = 1000;
