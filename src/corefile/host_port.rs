//! `HOST:PORT` of an HTTP endpoint, with Go's errors.

/// Splits `HOST:PORT`, `[HOST]:PORT` or `[HOST%ZONE]:PORT`; the host may be empty, an empty port is 0.
///
/// An IPv6 address must be in brackets. The port must be a number of at most 65535.
pub fn host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = split_host_port(text)?;
    let number = match port {
        "" => 0,
        port if port.bytes().all(|octet| octet.is_ascii_digit()) => port
            .parse()
            .map_err(|_| format!("address {port}: invalid port"))?,
        port => return Err(format!("lookup tcp/{port}: unknown port")),
    };
    Ok((host.to_owned(), number))
}

/// Splits an address into host and port without a look at either.
pub fn split_host_port(text: &str) -> Result<(&str, &str), String> {
    let fail = |why: &str| Err(format!("address {text}: {why}"));
    let Some(colon) = text.rfind(':') else {
        return fail("missing port in address");
    };
    // Where stray brackets may begin, for the host and for the rest.
    let (mut open_from, mut close_from) = (0, 0);
    let host;
    if text.starts_with('[') {
        let Some(end) = text.find(']') else {
            return fail("missing ']' in address");
        };
        if end + 1 == text.len() {
            return fail("missing port in address");
        }
        if end + 1 != colon {
            // Either text between bracket and port, or a bare IPv6 address after the brackets.
            let why = if text.as_bytes()[end + 1] == b':' {
                "too many colons in address"
            } else {
                "missing port in address"
            };
            return fail(why);
        }
        host = &text[1..end];
        (open_from, close_from) = (1, end + 1);
    } else {
        host = &text[..colon];
        if host.contains(':') {
            return fail("too many colons in address");
        }
    }
    if text[open_from..].contains('[') {
        return fail("unexpected '[' in address");
    }
    if text[close_from..].contains(']') {
        return fail("unexpected ']' in address");
    }
    Ok((host, &text[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_split_as_in_go() {
        for (text, host, port) in [
            (":8080", "", 8080),
            ("localhost:9153", "localhost", 9153),
            ("[::1]:80", "::1", 80),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
            ("127.0.0.1:", "127.0.0.1", 0),
        ] {
            assert_eq!(host_port(text), Ok((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn errors_are_those_of_go() {
        for (text, want) in [
            ("localhost", "address localhost: missing port in address"),
            ("", "address : missing port in address"),
            ("::1", "address ::1: too many colons in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("[::1", "address [::1: missing ']' in address"),
            ("[::1]x:1", "address [::1]x:1: missing port in address"),
            ("[::1]:1:2", "address [::1]:1:2: too many colons in address"),
            ("a[b:1", "address a[b:1: unexpected '[' in address"),
            ("a]b:1", "address a]b:1: unexpected ']' in address"),
            ("[a]:]", "address [a]:]: unexpected ']' in address"),
            (":99999", "address 99999: invalid port"),
            (":http", "lookup tcp/http: unknown port"),
        ] {
            assert_eq!(host_port(text).unwrap_err(), want, "{text}");
        }
    }
}
