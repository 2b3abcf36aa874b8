//! `rewrite`: reads rules.

use super::edns::{self, Action, Data, EdnsRule, Variable};
use super::name::{Answer, Matcher, NameRule};
use super::rule::{CnameRule, Field, Rule};
use crate::corefile::{Args, SetupError};
use crate::lang::regexp::Regexp;
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::types;

pub(super) fn parse(args: &mut Args<'_>) -> Result<Vec<Rule>, SetupError> {
    let mut rules = Vec::new();
    while args.next() {
        let mut words = args.remaining_args();
        if words.len() < 2 {
            // All words between braces make one rule, on however many lines.
            while args.next_block() {
                words.push(args.val());
            }
        } else if args.next_arg() {
            return Err(
                args.syntax_err("a rule on one line, or between braces after stop or continue")
            );
        }
        rules.push(rule(&words).map_err(|message| args.err(message))?);
    }
    Ok(rules)
}

fn rule(words: &[&str]) -> Result<Rule, String> {
    let first = words
        .first()
        .ok_or("no rule type specified for rewrite")?
        .to_lowercase();
    let (stops, words) = match first.as_str() {
        "stop" => (true, &words[1..]),
        "continue" => (false, &words[1..]),
        _ => (true, words),
    };
    let (kind, rest) = words
        .split_first()
        .ok_or("no rule type specified for rewrite")?;
    let field = match kind.to_lowercase().as_str() {
        "answer" => return Err("response rewrites must begin with a name rule".into()),
        "name" => name_rule(rest)?,
        "class" => {
            let (from, to) = pair("class", rest, types::parse_class)?;
            Field::Class { from, to }
        }
        "type" => {
            let (from, to) = pair("type", rest, types::parse)?;
            Field::Type { from, to }
        }
        "edns0" => Field::Edns(edns_rule(rest)?),
        "ttl" => ttl_rule(rest)?,
        "rcode" => rcode_rule(rest)?,
        "cname" => cname_rule(rest)?,
        _ => return Err(format!("invalid rule type {kind:?}")),
    };
    Ok(Rule { stops, field })
}

// === names ===

fn name_rule(words: &[&str]) -> Result<Field, String> {
    let (kind, from, to) = match words {
        [] | [_] => return Err("too few arguments for a name rule".into()),
        [from, to] => ("exact".to_string(), *from, *to),
        [kind, from, to, ..] => (kind.to_lowercase(), *from, *to),
    };
    let mut answers = answer_rules(&kind, words.get(3..).unwrap_or_default())?;
    let replacement = qualified(to);
    let mut exact_name = None;
    let names = match kind.as_str() {
        "exact" => {
            // The new name has to be a regular expression too, though it is never used as one.
            pattern(&replacement, &qualified(from))?;
            exact_name = NameBuf::from_text(&replacement).ok().map(NameBuf::to_lower);
            answers.retain(|answer| *answer != Answer::Auto);
            answers.insert(0, Answer::Auto);
            exact(from)
        }
        "prefix" => Matcher::Prefix(qualified(from)),
        "suffix" => {
            for answer in answers.iter_mut().filter(|answer| **answer == Answer::Auto) {
                *answer = Answer::Suffix {
                    from: replacement.clone(),
                    to: qualified(from),
                };
            }
            Matcher::Suffix(qualified(from))
        }
        "substring" => Matcher::Substring(qualified(from)),
        "regex" => Matcher::Regex(pattern(from, to)?),
        _ => {
            return Err(format!(
                "name rule supports only exact, prefix, suffix, substring, and regex name matching, received: {kind}"
            ));
        }
    };
    Ok(Field::Name(Box::new(NameRule {
        names,
        replacement,
        exact_name,
        answers,
    })))
}

/// `answer auto`, `answer name RE TO`, `answer value RE TO`; the word `answer` may be left out after the first.
fn answer_rules(kind: &str, mut words: &[&str]) -> Result<Vec<Answer>, String> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    if words.len() < 2 {
        return Err(format!("invalid arguments for {kind} rule"));
    }
    if words[0] != "answer" {
        return Err(format!(
            "exceeded the number of arguments for a non-answer rule argument for {kind} rule"
        ));
    }
    let (mut answers, mut auto) = (Vec::new(), false);
    while !words.is_empty() {
        if words[0] == "answer" {
            words = &words[1..];
        }
        let Some((what, rest)) = words.split_first() else {
            return Err(format!("type missing for answer rule for {kind} rule"));
        };
        words = rest;
        match (*what, rest) {
            ("auto", _) => auto = true,
            ("name" | "value", [from, to, rest @ ..]) => {
                let regexp = pattern(from, to)
                    .map_err(|error| format!("{what} answer rule for {kind} rule: {error}"))?;
                let to = qualified(to);
                answers.push(if *what == "name" {
                    Answer::Name(regexp, to)
                } else {
                    Answer::Value(regexp, to)
                });
                words = rest;
            }
            ("name" | "value", _) => {
                return Err(format!(
                    "{what} answer rule for {kind} rule: 2 arguments required"
                ));
            }
            _ => {
                return Err(format!(
                    "invalid type {what:?} for answer rule for {kind} rule"
                ));
            }
        }
    }
    if auto
        && answers
            .iter()
            .any(|answer| matches!(answer, Answer::Name(..)))
    {
        return Err(
            "auto name answer rule cannot be combined with explicit name answer rules".into(),
        );
    }
    if auto {
        answers.insert(0, Answer::Auto);
    }
    Ok(answers)
}

/// Compiles a pattern and checks that it has the groups that the replacement names.
fn pattern(from: &str, to: &str) -> Result<Regexp, String> {
    let regexp = Regexp::compile(from)
        .map_err(|error| format!("invalid regex matching pattern: {from}: {error}"))?;
    let used = (0..=100)
        .filter(|number| to.contains(&format!("{{{number}}}")))
        .count();
    if used > regexp.group_count() - 1 {
        return Err(format!(
            "the rewrite regex pattern ({to}) uses more subexpressions than its corresponding matching regex pattern ({from})"
        ));
    }
    Ok(regexp)
}

/// `[exact|prefix|suffix|substring|regex] NAME` of a rule about replies.
fn matcher(rule: &str, kind: Option<&str>, name: &str) -> Result<Matcher, String> {
    Ok(match kind.map(str::to_lowercase).as_deref() {
        None | Some("exact") => exact(name),
        Some("prefix") => Matcher::Prefix(qualified(name)),
        Some("suffix") => Matcher::Suffix(qualified(name)),
        Some("substring") => Matcher::Substring(qualified(name)),
        Some("regex") => {
            Matcher::Regex(Regexp::compile(name).map_err(|error| {
                format!("invalid regex pattern in a {rule} rule: {name}: {error}")
            })?)
        }
        Some(_) => {
            return Err(format!(
                "{rule} rule supports only exact, prefix, suffix, substring, and regex name matching"
            ));
        }
    })
}

fn exact(name: &str) -> Matcher {
    let name = qualified(name);
    let wire = NameBuf::from_text(&name)
        .ok()
        .map(|name| Box::new(name.to_lower()));
    Matcher::Exact(name, wire)
}

/// Lower-case with a final dot, whether or not that makes a name.
fn qualified(name: &str) -> String {
    let mut name = name.to_lowercase();
    if !name.ends_with('.') || name.ends_with("\\.") {
        name.push('.');
    }
    name
}

fn pair(rule: &str, words: &[&str], number: fn(&str) -> Option<u16>) -> Result<(u16, u16), String> {
    let [from, to] = words else {
        return Err(format!("{rule} rules must have exactly two arguments"));
    };
    let read = |word: &str| {
        let word = word.to_uppercase();
        number(&word).ok_or_else(|| format!("invalid {rule} {word:?}"))
    };
    Ok((read(from)?, read(to)?))
}

// === replies ===

fn ttl_rule(words: &[&str]) -> Result<Field, String> {
    let (kind, name, ttl) = match words {
        [name, ttl] => (None, name, ttl),
        [kind, name, ttl] => (Some(*kind), name, ttl),
        [] | [_] => {
            return Err(format!(
                "too few ({}) arguments for a ttl rule",
                words.len()
            ));
        }
        _ => return Err("too many arguments for a ttl rule".into()),
    };
    let (min_s, max_s) =
        ttl_bounds(ttl).ok_or_else(|| format!("invalid TTL '{ttl}' for a ttl rule"))?;
    Ok(Field::Ttl {
        names: matcher("ttl", kind, name)?,
        min_s,
        max_s,
    })
}

/// `SECONDS`, `MIN-MAX`, `-MAX` or `MIN-`.
fn ttl_bounds(text: &str) -> Option<(u32, u32)> {
    let number = |digits: &str| {
        digits
            .parse::<u32>()
            .ok()
            .filter(|_| !digits.starts_with('+'))
    };
    let Some((min, max)) = text.split_once('-') else {
        return number(text).map(|ttl| (ttl, ttl));
    };
    let bounds = match (min, max) {
        ("", "") => return None,
        ("", max) => (0, number(max)?),
        (min, "") => (number(min)?, TTL_MAX),
        (min, max) => (number(min)?, number(max)?),
    };
    (bounds.0 <= bounds.1).then_some(bounds)
}

fn rcode_rule(words: &[&str]) -> Result<Field, String> {
    let (kind, name, from, to) = match words {
        [name, from, to] => (None, name, from, to),
        [kind, name, from, to] => (Some(*kind), name, from, to),
        [] | [_] | [_, _] => {
            return Err(format!(
                "too few ({}) arguments for a rcode rule",
                words.len()
            ));
        }
        _ => return Err("too many arguments for a rcode rule".into()),
    };
    let from =
        rcode(from).ok_or_else(|| format!("invalid matching RCODE '{from}' for a rcode rule"))?;
    let to =
        rcode(to).ok_or_else(|| format!("invalid replacement RCODE '{to}' for a rcode rule"))?;
    Ok(Field::Rcode {
        names: matcher("rcode", kind, name)?,
        from,
        to,
    })
}

fn rcode(text: &str) -> Option<Rcode> {
    if let Ok(number) = text.parse::<u16>() {
        return (number <= RCODE_MAX).then_some(Rcode(number));
    }
    match text.to_uppercase().as_str() {
        // Other spellings that CoreDNS's library knows.
        "NOTIMPL" => Some(Rcode::NOTIMP),
        "BADSIG" => Some(Rcode::BADVERS),
        name => Rcode::parse(name),
    }
}

fn cname_rule(words: &[&str]) -> Result<Field, String> {
    let (kind, from, to) = match words {
        [from, to] => ("exact".to_string(), from, to),
        [kind, from, to] => (kind.to_lowercase(), from, to),
        _ => {
            return Err(format!(
                "too few ({}) arguments for a cname rule",
                words.len()
            ));
        }
    };
    // Only whole names and endings get a final dot here.
    let plain = |text: &str| text.to_lowercase();
    let (targets, replacement) = match kind.as_str() {
        "exact" => (exact(from), qualified(to)),
        "suffix" => (Matcher::Suffix(qualified(from)), qualified(to)),
        "prefix" => (Matcher::Prefix(plain(from)), plain(to)),
        "substring" => (Matcher::Substring(plain(from)), plain(to)),
        "regex" => (Matcher::Regex(pattern(from, to)?), plain(to)),
        _ => return Err(format!("unknown cname rewrite type: {kind}")),
    };
    Ok(Field::Cname(Box::new(CnameRule {
        targets,
        replacement,
    })))
}

// === EDNS ===

fn edns_rule(words: &[&str]) -> Result<EdnsRule, String> {
    let [kind, action, rest @ ..] = words else {
        return Err("too few arguments for an EDNS0 rule".into());
    };
    let action = match action.to_lowercase().as_str() {
        "set" => Action::Set,
        "append" => Action::Append,
        "replace" => Action::Replace,
        "unset" => Action::Unset,
        other => return Err(format!("invalid action: {other:?}")),
    };
    let (rest, reverts) = match rest.split_last() {
        Some((&"revert", rest)) if action != Action::Unset => (rest, true),
        _ => (rest, false),
    };
    let unset = action == Action::Unset;
    let (code, data) = match (kind.to_lowercase().as_str(), rest) {
        ("local", [code]) if unset => (number(code, u16::MAX)?, Data::Fixed(Vec::new())),
        ("local", _) if unset => {
            return Err("local unset action requires exactly two arguments".into());
        }
        ("local", [code, data]) => (number(code, u16::MAX)?, local_data(data)?),
        ("local", _) => return Err("EDNS0 local rules require three or four args".into()),
        ("nsid", []) => (edns::NSID, Data::Nsid),
        ("nsid", _) => return Err("EDNS0 NSID rules accept no arguments but revert".into()),
        ("subnet", []) if unset => (
            edns::SUBNET,
            Data::Subnet {
                v4_bits: 0,
                v6_bits: 0,
            },
        ),
        ("subnet", _) if unset => return Err("unset subnet rules accept no arguments".into()),
        ("subnet", [v4, v6]) => (
            edns::SUBNET,
            Data::Subnet {
                v4_bits: bits(v4, "IPv4", 32)?,
                v6_bits: bits(v6, "IPv6", 128)?,
            },
        ),
        ("subnet", _) => return Err("EDNS0 subnet rules require three or four args".into()),
        (kind, _) => return Err(format!("invalid rule type {kind:?}")),
    };
    Ok(EdnsRule {
        action,
        code,
        data,
        reverts,
    })
}

fn local_data(text: &str) -> Result<Data, String> {
    if text.starts_with('{') && text.ends_with('}') {
        let variable =
            Variable::named(text).ok_or_else(|| format!("unsupported variable name {text:?}"))?;
        return Ok(Data::Variable(variable));
    }
    let Some(digits) = text.strip_prefix("0x") else {
        return Ok(Data::Fixed(text.as_bytes().to_vec()));
    };
    let octet = |pair: &[u8]| {
        let high = char::from(*pair.first()?).to_digit(16)?;
        let low = char::from(*pair.get(1)?).to_digit(16)?;
        u8::try_from(high * 16 + low).ok()
    };
    let octets: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(octet).collect();
    octets
        .map(Data::Fixed)
        .ok_or_else(|| format!("EDNS0 data {text:?} is not a whole number of hexadecimal octets"))
}

fn bits(text: &str, family: &str, most: u16) -> Result<u8, String> {
    let bits = number(text, u16::MAX)?;
    match u8::try_from(bits) {
        Ok(bits) if u16::from(bits) <= most => Ok(bits),
        _ => Err(format!("invalid {family} bit mask length {bits}")),
    }
}

/// A number in Go's notation: decimal, `0x`, `0o`, `0b`, or octal after a zero.
fn number(text: &str, most: u16) -> Result<u16, String> {
    let lower = text.to_lowercase().replace('_', "");
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let (digits, radix) = prefixes
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)))
        .unwrap_or(match lower.strip_prefix('0') {
            Some(rest) if !rest.is_empty() => (rest, 8),
            _ => (&lower, 10),
        });
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if !plain {
        return Err(format!(
            "strconv.ParseUint: parsing {text:?}: invalid syntax"
        ));
    }
    u16::from_str_radix(digits, radix)
        .ok()
        .filter(|value| *value <= most)
        .ok_or_else(|| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

/// Largest TTL (RFC 2181 section 8).
const TTL_MAX: u32 = i32::MAX as u32;
/// Largest rcode that may be written as a number.
const RCODE_MAX: u16 = 23;
