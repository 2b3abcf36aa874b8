//! The query that most clients send, read in one pass and with nothing copied but its name: opcode QUERY, one question of class IN, and
//! at most an OPT record without options, or with a cookie.
//!
//! Everything else is [`query::parse`](super::query::parse)'s business, and so is every message that is not well formed: what is plain here
//! is accepted there.

use super::edns::{self, option};
use super::name::{self, NameBuf};
use super::{HEADER, flag, types};

/// A plain query; a buffer that is used again for each message.
#[derive(Debug, Clone)]
pub struct Plain {
    /// The message id.
    pub id: u16,
    /// The second word of the header as sent: no QR, opcode 0.
    pub flags: u16,
    /// QTYPE; never a transfer.
    pub qtype: u16,
    /// Octets of the message.
    pub size: usize,
    /// The UDP payload size of the OPT record, where there is one.
    pub udp_size: Option<u16>,
    /// The DO bit.
    pub dnssec_ok: bool,
    /// Octets of the options that end the message: none, or a cookie option, which a reply repeats.
    options_len: usize,
    /// Keyed hash of the name, as [`name::hash`] gives it.
    pub hash: u64,
    name: NameBuf,
}

impl Default for Plain {
    fn default() -> Plain {
        Plain {
            id: 0,
            flags: 0,
            qtype: 0,
            size: 0,
            udp_size: None,
            dnssec_ok: false,
            options_len: 0,
            hash: 0,
            name: NameBuf::ROOT,
        }
    }
}

impl Plain {
    /// Reads a message; `false` if it is not plain, and then nothing here means anything.
    #[inline]
    pub fn read(&mut self, message: &[u8]) -> bool {
        let Some((header, rest)) = message.split_first_chunk::<HEADER>() else {
            return false;
        };
        let [i0, i1, f0, f1, counts @ ..] = *header;
        (self.id, self.flags) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([f0, f1]));
        let additionals = u64::from_be_bytes(counts) ^ ONE_QUESTION;
        if additionals > 1 || self.flags & (flag::QR | flag::OPCODE) != 0 {
            return false;
        }
        let Ok(name_len) = name::skip_uncompressed(rest) else {
            return false;
        };
        let (name, rest) = rest.split_at(name_len);
        let Some(([t0, t1, c0, c1], rest)) = rest.split_first_chunk::<4>() else {
            return false;
        };
        self.qtype = u16::from_be_bytes([*t0, *t1]);
        let class = u16::from_be_bytes([*c0, *c1]);
        if class != types::CLASS_IN || matches!(self.qtype, types::AXFR | types::IXFR) {
            return false;
        }
        if additionals == 0 {
            (self.udp_size, self.dnssec_ok, self.options_len) = (None, false, 0);
            if !rest.is_empty() {
                return false;
            }
        } else if !self.read_opt(rest) {
            return false;
        }
        self.size = message.len();
        self.hash = name::lower_and_hash(name, &mut self.name);
        true
    }

    /// An OPT record of version 0 that ends the message (RFC 6891 section 6.1.2).
    fn read_opt(&mut self, record: &[u8]) -> bool {
        let Some((head, options)) = record.split_first_chunk::<OPT_LEN>() else {
            return false;
        };
        let [root, t0, t1, s0, s1, _, version, f0, f1, l0, l1] = *head;
        self.udp_size = Some(u16::from_be_bytes([s0, s1]));
        self.dnssec_ok = u16::from_be_bytes([f0, f1]) & edns::DO != 0;
        self.options_len = options.len();
        root == 0
            && u16::from_be_bytes([t0, t1]) == types::OPT
            && version == 0
            && usize::from(u16::from_be_bytes([l0, l1])) == options.len()
            && (options.is_empty() || is_cookie(options))
    }

    /// The options of `message`, which is the one that was read, as a reply repeats them.
    pub fn options<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        let start = message.len().saturating_sub(self.options_len);
        message.get(start..).unwrap_or_default()
    }

    /// Octets that the OPT record of a reply takes.
    pub fn opt_len(&self) -> usize {
        match self.udp_size {
            Some(_) => OPT_LEN + self.options_len,
            None => 0,
        }
    }

    /// QNAME in lower-case wire form.
    pub fn name(&self) -> &[u8] {
        self.name.as_wire()
    }

    /// Whether the query has that header flag.
    pub fn has_flag(&self, bit: u16) -> bool {
        self.flags & bit != 0
    }

    /// The question section of `message`, which is the one that was read: the name as the client wrote it, type and class.
    pub fn question<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        let end = HEADER + self.name().len() + 4;
        message.get(HEADER..end).unwrap_or_default()
    }
}

/// Whether these options are one cookie of a length that is accepted.
fn is_cookie(options: &[u8]) -> bool {
    let Some(([c0, c1, l0, l1], cookie)) = options.split_first_chunk::<4>() else {
        return false;
    };
    u16::from_be_bytes([*c0, *c1]) == option::COOKIE
        && usize::from(u16::from_be_bytes([*l0, *l1])) == cookie.len()
        && edns::is_cookie_length(cookie.len())
}

/// Octets of an OPT record without options.
pub const OPT_LEN: usize = 11;
/// QDCOUNT 1, the other counts 0.
const ONE_QUESTION: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::query::{self, Parsed, Verdict};

    const QUESTION: &[u8] = b"\x03WwW\x07example\0\0\x01\0\x01";
    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
    const COOKIE: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08COOKIE42";

    fn message(flags: u16, counts: [u8; 4], body: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(flags.to_be_bytes());
        counts.iter().for_each(|count| out.extend([0, *count]));
        body.iter().for_each(|part| out.extend_from_slice(part));
        out
    }

    fn read(bytes: &[u8]) -> Option<Plain> {
        let mut plain = Plain::default();
        plain.read(bytes).then_some(plain)
    }

    #[test]
    fn a_question_with_and_without_opt_is_plain() {
        let bare = read(&message(flag::RD, [1, 0, 0, 0], &[QUESTION])).unwrap();
        assert_eq!(
            (bare.id, bare.flags, bare.qtype),
            (0x1234, flag::RD, types::A)
        );
        assert_eq!((bare.udp_size, bare.dnssec_ok), (None, false));
        assert_eq!(bare.name(), b"\x03www\x07example\0");
        assert_eq!(bare.hash, name::hash(bare.name()));
        let bytes = message(flag::RD, [1, 0, 0, 1], &[QUESTION, OPT]);
        let edns = read(&bytes).unwrap();
        assert_eq!((edns.udp_size, edns.dnssec_ok), (Some(1232), true));
        assert_eq!((edns.question(&bytes), edns.size), (QUESTION, bytes.len()));
        assert_eq!((edns.options(&bytes), edns.opt_len()), (&b""[..], 11));
        let bytes = message(flag::RD, [1, 0, 0, 1], &[QUESTION, COOKIE]);
        let cookie = read(&bytes).unwrap();
        assert_eq!(
            (cookie.options(&bytes), cookie.opt_len()),
            (&COOKIE[11..], 23)
        );
    }

    #[test]
    fn everything_else_goes_the_long_way() {
        let no =
            |flags, counts, body: &[&[u8]]| assert!(read(&message(flags, counts, body)).is_none());
        no(flag::QR, [1, 0, 0, 0], &[QUESTION]);
        no(4 << 11, [1, 0, 0, 0], &[QUESTION]);
        for counts in [
            [0, 0, 0, 0],
            [2, 0, 0, 0],
            [1, 1, 0, 0],
            [1, 0, 1, 0],
            [1, 0, 0, 2],
        ] {
            no(0, counts, &[QUESTION, OPT]);
        }
        // Octets that no count announces, an OPT record that is missing, cut, of version 1, with options, not at the root.
        no(0, [1, 0, 0, 0], &[QUESTION, b"\0"]);
        no(0, [1, 0, 0, 1], &[QUESTION]);
        no(0, [1, 0, 0, 1], &[QUESTION, &OPT[..10]]);
        no(
            0,
            [1, 0, 0, 1],
            &[QUESTION, b"\0\0\x29\x04\xd0\0\x01\0\0\0\0"],
        );
        no(
            0,
            [1, 0, 0, 1],
            &[QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\0"],
        );
        // A cookie of a length that is an error, and one with something behind it.
        no(
            0,
            [1, 0, 0, 1],
            &[
                QUESTION,
                b"\0\0\x29\x04\xd0\0\0\0\0\0\x0b\0\x0a\0\x07COOKIE4",
            ],
        );
        no(
            0,
            [1, 0, 0, 1],
            &[
                QUESTION,
                b"\0\0\x29\x04\xd0\0\0\0\0\0\x10\0\x0a\0\x08COOKIE42\0\x0c\0\0",
            ],
        );
        no(
            0,
            [1, 0, 0, 1],
            &[QUESTION, b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0"],
        );
        no(0, [1, 0, 0, 1], &[QUESTION, b"\0\0\x01\0\x01\0\0\0\0\0\0"]);
        no(0, [1, 0, 0, 0], &[b"\x01a\0\0\x01\0\x03"]);
        no(0, [1, 0, 0, 0], &[b"\x01a\0\0\xfc\0\x01"]);
        no(0, [1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]);
        assert!(read(&message(0, [1, 0, 0, 0], &[QUESTION])[..20]).is_none());
        assert!(read(&[]).is_none());
    }

    proptest! {
        #[test]
        fn what_is_plain_is_accepted_and_means_the_same(
            flags: u16, additionals in 0u8..3, octets in proptest::collection::vec(any::<u8>(), 0..40), cut in 0usize..60, opt in 0usize..3
        ) {
            let mut bytes = message(flags, [1, 0, 0, additionals], &[QUESTION, [&[], OPT, COOKIE][opt], &octets]);
            bytes.truncate(bytes.len().saturating_sub(cut));
            let mut parsed = Parsed::default();
            let verdict = query::parse(&bytes, &mut parsed);
            if let Some(plain) = read(&bytes) {
                prop_assert_eq!(verdict, Verdict::Accept);
                prop_assert_eq!((plain.id, plain.flags, plain.qtype), (parsed.id, parsed.flags, parsed.qtype));
                prop_assert_eq!(plain.udp_size, parsed.edns.present.then_some(parsed.edns.udp_size));
                prop_assert_eq!(plain.dnssec_ok, parsed.edns.dnssec_ok());
                let lowered = parsed.name.to_lower();
                prop_assert_eq!(plain.name(), lowered.as_wire());
                prop_assert_eq!(plain.options(&bytes), &parsed.edns.options[..]);
                prop_assert!(parsed.edns.version == 0);
            }
        }
    }
}
