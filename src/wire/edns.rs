//! EDNS(0): the OPT record of a query and of a reply (RFC 6891), its options as one run of octets.

use super::{Malformed, u16_at};

/// The DO bit in the flags of an OPT record (RFC 3225).
pub const DO: u16 = 0x8000;

/// A client cookie alone, or with a server cookie of 8 to 32 octets (RFC 7873 section 4).
pub fn is_cookie_length(len: usize) -> bool {
    len == 8 || (16..=40).contains(&len)
}

/// Option codes (IANA "DNS EDNS0 Option Codes").
pub mod option {
    /// NSID (RFC 5001).
    pub const NSID: u16 = 3;
    /// Client subnet (RFC 7871).
    pub const SUBNET: u16 = 8;
    /// EXPIRE (RFC 7314).
    pub const EXPIRE: u16 = 9;
    /// COOKIE (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// edns-tcp-keepalive (RFC 7828).
    pub const TCP_KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended DNS error (RFC 8914).
    pub const EDE: u16 = 15;
}

/// An OPT record. `present == false` means the message has none; the buffer is kept for the next message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edns {
    /// Whether the message carries an OPT record.
    pub present: bool,
    /// The sender's UDP payload size in octets.
    pub udp_size: u16,
    /// The upper eight bits of the rcode.
    pub extended_rcode: u8,
    /// The EDNS version.
    pub version: u8,
    /// DO and the reserved bits.
    pub flags: u16,
    /// The options as they stand on the wire: code, length, data, one after the other.
    pub options: Vec<u8>,
}

impl Edns {
    /// Back to "no OPT record".
    pub fn clear(&mut self) {
        self.present = false;
        self.udp_size = 0;
        self.extended_rcode = 0;
        self.version = 0;
        self.flags = 0;
        self.options.clear();
    }

    /// Makes an OPT record present, with a payload size and no options, unless there is one.
    pub fn ensure(&mut self, udp_size: u16) {
        if !self.present {
            self.clear();
            self.present = true;
            self.udp_size = udp_size;
        }
    }

    /// Whether the DO bit is set.
    pub fn dnssec_ok(&self) -> bool {
        self.present && self.flags & DO != 0
    }

    /// Takes the fixed fields and the options of an OPT record, checking that the options fill the rdata.
    pub fn read(&mut self, class: u16, ttl: u32, rdata: &[u8]) -> Result<(), Malformed> {
        let mut at = 0;
        while at < rdata.len() {
            let len = u16_at(rdata, at + 2).map_err(|_| Malformed::Rdata)? as usize;
            at += 4 + len;
        }
        if at != rdata.len() {
            return Err(Malformed::Rdata);
        }
        self.present = true;
        self.udp_size = class;
        self.extended_rcode = (ttl >> 24) as u8;
        self.version = (ttl >> 16) as u8;
        self.flags = ttl as u16;
        self.options.clear();
        self.options.extend_from_slice(rdata);
        Ok(())
    }

    /// The options in order, as code and data.
    pub fn iter(&self) -> Options<'_> {
        options(&self.options)
    }

    /// The data of the first option with that code.
    pub fn find(&self, code: u16) -> Option<&[u8]> {
        self.iter()
            .find(|option| option.0 == code)
            .map(|option| option.1)
    }

    /// Appends an option. Data that would not fit a message is cut off at what the length field holds.
    pub fn push(&mut self, code: u16, data: &[u8]) {
        let data = &data[..data.len().min(u16::MAX as usize)];
        self.options.extend_from_slice(&code.to_be_bytes());
        self.options
            .extend_from_slice(&(data.len() as u16).to_be_bytes());
        self.options.extend_from_slice(data);
    }

    /// Removes every option for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(u16, &[u8]) -> bool) {
        let (mut from, mut to) = (0, 0);
        while from + 4 <= self.options.len() {
            let code = u16::from_be_bytes([self.options[from], self.options[from + 1]]);
            let len =
                4 + u16::from_be_bytes([self.options[from + 2], self.options[from + 3]]) as usize;
            let end = (from + len).min(self.options.len());
            if keep(code, &self.options[from + 4..end]) {
                self.options.copy_within(from..end, to);
                to += end - from;
            }
            from = end;
        }
        self.options.truncate(to);
    }

    /// Octets of the record on the wire.
    pub fn wire_len(&self) -> usize {
        if self.present {
            11 + self.options.len()
        } else {
            0
        }
    }
}

/// The options that the data of an OPT record holds, as code and data.
pub fn options(rest: &[u8]) -> Options<'_> {
    Options { rest }
}

/// See [`options`].
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let code = u16_at(self.rest, 0).ok()?;
        let len = u16_at(self.rest, 2).ok()? as usize;
        let data = self.rest.get(4..4 + len)?;
        self.rest = &self.rest[4 + len..];
        Some((code, data))
    }
}

/// Writes an OPT record at the start of `out`; returns its length, or `None` where it does not fit.
pub fn write_opt(
    out: &mut [u8],
    udp_size: u16,
    extended_rcode: u8,
    flags: u16,
    options: &[u8],
) -> Option<usize> {
    let len = 11 + options.len();
    let out = out.get_mut(..len)?;
    out[0] = 0;
    out[1..3].copy_from_slice(&super::types::OPT.to_be_bytes());
    out[3..5].copy_from_slice(&udp_size.to_be_bytes());
    out[5] = extended_rcode;
    out[6] = 0;
    out[7..9].copy_from_slice(&flags.to_be_bytes());
    out[9..11].copy_from_slice(&(options.len() as u16).to_be_bytes());
    out[11..].copy_from_slice(options);
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_found_and_removed() {
        let mut edns = Edns::default();
        edns.read(1232, 0x8000, &[0, 3, 0, 0, 0, 10, 0, 2, 7, 8])
            .unwrap();
        assert!(edns.dnssec_ok());
        assert_eq!(edns.find(option::COOKIE), Some(&[7u8, 8][..]));
        edns.push(option::EDE, &[0, 15]);
        edns.retain(|code, _| code != option::COOKIE);
        assert_eq!(
            edns.iter().map(|o| o.0).collect::<Vec<_>>(),
            [option::NSID, option::EDE]
        );
        assert_eq!(edns.wire_len(), 11 + 4 + 6);
    }

    #[test]
    fn options_must_fill_the_rdata() {
        for rdata in [&[0u8][..], &[0, 3, 0], &[0, 3, 0, 1], &[0, 3, 0, 0, 1]] {
            assert!(Edns::default().read(512, 0, rdata).is_err(), "{rdata:?}");
        }
    }
}
