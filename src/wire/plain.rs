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
    /// Octets of the OPT record that ends the message; 0 without one. It has no option, or a cookie option.
    opt_len: usize,
    /// Keyed hash of the name, as [`name::hash`] gives it.
    pub hash: u64,
    /// Keyed hash of all that an answer depends on, as [`name::question_hash`] gives it.
    pub question_hash: u64,
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
            opt_len: 0,
            hash: 0,
            question_hash: 0,
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
            (self.udp_size, self.dnssec_ok, self.opt_len) = (None, false, 0);
            if !rest.is_empty() {
                return false;
            }
        } else if !self.read_opt(rest) {
            return false;
        }
        self.size = message.len();
        self.hash = name::lower_and_hash(name, &mut self.name);
        let cd = self.flags & flag::CD != 0;
        self.question_hash = name::question_hash(self.hash, self.qtype, class, self.dnssec_ok, cd);
        true
    }

    /// An OPT record of version 0 that ends the message (RFC 6891 section 6.1.2).
    #[inline(always)] // one caller; a call costs a third of it
    fn read_opt(&mut self, record: &[u8]) -> bool {
        let Some((head, options)) = record.split_first_chunk::<OPT_LEN>() else {
            return false;
        };
        let [root, t0, t1, s0, s1, _, version, f0, f1, l0, l1] = *head;
        self.udp_size = Some(u16::from_be_bytes([s0, s1]));
        self.dnssec_ok = u16::from_be_bytes([f0, f1]) & edns::DO != 0;
        self.opt_len = record.len();
        root == 0
            && u16::from_be_bytes([t0, t1]) == types::OPT
            && version == 0
            && usize::from(u16::from_be_bytes([l0, l1])) == options.len()
            && (options.is_empty() || is_cookie(options))
    }

    /// Octets that the OPT record of a reply takes: as many as that of the query.
    pub fn opt_len(&self) -> usize {
        self.opt_len
    }

    /// Writes the OPT record of a reply to the start of `out`: that of `message`, which is the one that was read, with another payload
    /// size and no flag but DO (RFC 6891 section 6.1.1, RFC 3225 section 3). Returns its length; `None` where it does not fit.
    #[inline]
    pub fn write_opt(&self, message: &[u8], udp_size: u16, out: &mut [u8]) -> Option<usize> {
        let sent = message.get(message.len().checked_sub(self.opt_len)?..)?;
        let (sent, options) = sent.split_first_chunk::<OPT_LEN>()?;
        let (record, rest) = out.split_first_chunk_mut::<OPT_LEN>()?;
        *record = *sent;
        record[3..5].copy_from_slice(&udp_size.to_be_bytes());
        record[5] = 0; // the upper bits of the rcode
        record[7] &= (edns::DO >> 8) as u8;
        record[8] = 0;
        if !options.is_empty() {
            rest.get_mut(..options.len())?.copy_from_slice(options);
        }
        Some(self.opt_len)
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
const OPT_LEN: usize = 11;
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
        let mut out = [0xff; 40];
        assert_eq!(edns.write_opt(&bytes, 512, &mut out), Some(11));
        assert_eq!(&out[..11], b"\0\0\x29\x02\0\0\0\x80\0\0\0");
        let bytes = message(flag::RD, [1, 0, 0, 1], &[QUESTION, COOKIE]);
        let cookie = read(&bytes).unwrap();
        assert_eq!(cookie.write_opt(&bytes, 1232, &mut out), Some(23));
        assert_eq!((&out[..23], cookie.opt_len()), (COOKIE, 23));
        assert_eq!(cookie.write_opt(&bytes, 1232, &mut out[..22]), None);
        // Of the flags only DO comes back, and nothing of the extended rcode.
        const ODD: &[u8] = b"\0\0\x29\x04\xd0\xff\0\xff\xff\0\0";
        let bytes = message(0, [1, 0, 0, 1], &[QUESTION, ODD]);
        read(&bytes).unwrap().write_opt(&bytes, 1232, &mut out);
        assert_eq!(&out[..11], OPT);
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
                let mut opt = [0; 64];
                let written = plain.write_opt(&bytes, 1232, &mut opt).unwrap_or(0);
                prop_assert_eq!(opt.get(11..written).unwrap_or(&[]), &parsed.edns.options[..]);
                prop_assert!(parsed.edns.version == 0);
            }
        }
    }
}
