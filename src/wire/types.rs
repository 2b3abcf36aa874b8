//! Numbers and mnemonics of RR types and classes (IANA "Domain Name System (DNS) Parameters").

use std::fmt;

/// Type A.
pub const A: u16 = 1;
/// Type NS.
pub const NS: u16 = 2;
/// Type MD.
pub const MD: u16 = 3;
/// Type MF.
pub const MF: u16 = 4;
/// Type CNAME.
pub const CNAME: u16 = 5;
/// Type SOA.
pub const SOA: u16 = 6;
/// Type MB.
pub const MB: u16 = 7;
/// Type MG.
pub const MG: u16 = 8;
/// Type MR.
pub const MR: u16 = 9;
/// Type NULL.
pub const NULL: u16 = 10;
/// Type PTR.
pub const PTR: u16 = 12;
/// Type HINFO.
pub const HINFO: u16 = 13;
/// Type MINFO.
pub const MINFO: u16 = 14;
/// Type MX.
pub const MX: u16 = 15;
/// Type TXT.
pub const TXT: u16 = 16;
/// Type RP.
pub const RP: u16 = 17;
/// Type AFSDB.
pub const AFSDB: u16 = 18;
/// Type X25.
pub const X25: u16 = 19;
/// Type ISDN.
pub const ISDN: u16 = 20;
/// Type RT.
pub const RT: u16 = 21;
/// Type NSAP-PTR.
pub const NSAP_PTR: u16 = 23;
/// Type SIG.
pub const SIG: u16 = 24;
/// Type KEY.
pub const KEY: u16 = 25;
/// Type PX.
pub const PX: u16 = 26;
/// Type GPOS.
pub const GPOS: u16 = 27;
/// Type AAAA.
pub const AAAA: u16 = 28;
/// Type LOC.
pub const LOC: u16 = 29;
/// Type NXT.
pub const NXT: u16 = 30;
/// Type EID.
pub const EID: u16 = 31;
/// Type NIMLOC.
pub const NIMLOC: u16 = 32;
/// Type SRV.
pub const SRV: u16 = 33;
/// Type ATMA.
pub const ATMA: u16 = 34;
/// Type NAPTR.
pub const NAPTR: u16 = 35;
/// Type KX.
pub const KX: u16 = 36;
/// Type CERT.
pub const CERT: u16 = 37;
/// Type DNAME.
pub const DNAME: u16 = 39;
/// Type OPT.
pub const OPT: u16 = 41;
/// Type APL.
pub const APL: u16 = 42;
/// Type DS.
pub const DS: u16 = 43;
/// Type SSHFP.
pub const SSHFP: u16 = 44;
/// Type IPSECKEY.
pub const IPSECKEY: u16 = 45;
/// Type RRSIG.
pub const RRSIG: u16 = 46;
/// Type NSEC.
pub const NSEC: u16 = 47;
/// Type DNSKEY.
pub const DNSKEY: u16 = 48;
/// Type DHCID.
pub const DHCID: u16 = 49;
/// Type NSEC3.
pub const NSEC3: u16 = 50;
/// Type NSEC3PARAM.
pub const NSEC3PARAM: u16 = 51;
/// Type TLSA.
pub const TLSA: u16 = 52;
/// Type SMIMEA.
pub const SMIMEA: u16 = 53;
/// Type HIP.
pub const HIP: u16 = 55;
/// Type NINFO.
pub const NINFO: u16 = 56;
/// Type RKEY.
pub const RKEY: u16 = 57;
/// Type TALINK.
pub const TALINK: u16 = 58;
/// Type CDS.
pub const CDS: u16 = 59;
/// Type CDNSKEY.
pub const CDNSKEY: u16 = 60;
/// Type OPENPGPKEY.
pub const OPENPGPKEY: u16 = 61;
/// Type CSYNC.
pub const CSYNC: u16 = 62;
/// Type ZONEMD.
pub const ZONEMD: u16 = 63;
/// Type SVCB.
pub const SVCB: u16 = 64;
/// Type HTTPS.
pub const HTTPS: u16 = 65;
/// Type SPF.
pub const SPF: u16 = 99;
/// Type UINFO.
pub const UINFO: u16 = 100;
/// Type UID.
pub const UID: u16 = 101;
/// Type GID.
pub const GID: u16 = 102;
/// Type UNSPEC.
pub const UNSPEC: u16 = 103;
/// Type NID.
pub const NID: u16 = 104;
/// Type L32.
pub const L32: u16 = 105;
/// Type L64.
pub const L64: u16 = 106;
/// Type LP.
pub const LP: u16 = 107;
/// Type EUI48.
pub const EUI48: u16 = 108;
/// Type EUI64.
pub const EUI64: u16 = 109;
/// Type NXNAME.
pub const NXNAME: u16 = 128;
/// Type TKEY.
pub const TKEY: u16 = 249;
/// Type TSIG.
pub const TSIG: u16 = 250;
/// Type IXFR.
pub const IXFR: u16 = 251;
/// Type AXFR.
pub const AXFR: u16 = 252;
/// Type MAILB.
pub const MAILB: u16 = 253;
/// Type MAILA.
pub const MAILA: u16 = 254;
/// Type ANY.
pub const ANY: u16 = 255;
/// Type URI.
pub const URI: u16 = 256;
/// Type CAA.
pub const CAA: u16 = 257;
/// Type AVC.
pub const AVC: u16 = 258;
/// Type AMTRELAY.
pub const AMTRELAY: u16 = 260;
/// Type RESINFO.
pub const RESINFO: u16 = 261;
/// Type TA.
pub const TA: u16 = 32768;
/// Type DLV.
pub const DLV: u16 = 32769;

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Class CH.
pub const CLASS_CH: u16 = 3;
/// Class HS.
pub const CLASS_HS: u16 = 4;
/// QCLASS NONE.
pub const CLASS_NONE: u16 = 254;
/// QCLASS ANY.
pub const CLASS_ANY: u16 = 255;

/// The mnemonic of a type, or `None` where it has none.
pub fn mnemonic(rtype: u16) -> Option<&'static str> {
    MNEMONICS
        .binary_search_by_key(&rtype, |row| row.0)
        .ok()
        .map(|at| MNEMONICS[at].1)
}

/// The type of a mnemonic in upper case, or of `TYPE123` (RFC 3597 section 5).
pub fn parse(text: &str) -> Option<u16> {
    if let Some(row) = MNEMONICS.iter().find(|row| row.1 == text) {
        return Some(row.0);
    }
    text.strip_prefix("TYPE")
        .and_then(|digits| digits.parse().ok())
}

/// The class of a mnemonic in upper case, or of `CLASS123`.
pub fn parse_class(text: &str) -> Option<u16> {
    match text {
        "IN" => Some(CLASS_IN),
        "CH" => Some(CLASS_CH),
        "HS" => Some(CLASS_HS),
        "NONE" => Some(CLASS_NONE),
        "ANY" => Some(CLASS_ANY),
        "CS" => Some(2),
        _ => text
            .strip_prefix("CLASS")
            .and_then(|digits| digits.parse().ok()),
    }
}

/// Displays a type as its mnemonic or `TYPE123`, as logs and error lines show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type(pub u16);

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match mnemonic(self.0) {
            Some(text) => f.write_str(text),
            None if self.0 == 0 => f.write_str("None"),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// Displays a class as its mnemonic or `CLASS123`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(pub u16);

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CLASS_IN => f.write_str("IN"),
            2 => f.write_str("CS"),
            CLASS_CH => f.write_str("CH"),
            CLASS_HS => f.write_str("HS"),
            CLASS_NONE => f.write_str("NONE"),
            CLASS_ANY => f.write_str("ANY"),
            other => write!(f, "CLASS{other}"),
        }
    }
}

/// Ascending by number: `mnemonic` searches it.
const MNEMONICS: &[(u16, &str)] = &[
    (A, "A"),
    (NS, "NS"),
    (MD, "MD"),
    (MF, "MF"),
    (CNAME, "CNAME"),
    (SOA, "SOA"),
    (MB, "MB"),
    (MG, "MG"),
    (MR, "MR"),
    (NULL, "NULL"),
    (PTR, "PTR"),
    (HINFO, "HINFO"),
    (MINFO, "MINFO"),
    (MX, "MX"),
    (TXT, "TXT"),
    (RP, "RP"),
    (AFSDB, "AFSDB"),
    (X25, "X25"),
    (ISDN, "ISDN"),
    (RT, "RT"),
    (NSAP_PTR, "NSAP-PTR"),
    (SIG, "SIG"),
    (KEY, "KEY"),
    (PX, "PX"),
    (GPOS, "GPOS"),
    (AAAA, "AAAA"),
    (LOC, "LOC"),
    (NXT, "NXT"),
    (EID, "EID"),
    (NIMLOC, "NIMLOC"),
    (SRV, "SRV"),
    (ATMA, "ATMA"),
    (NAPTR, "NAPTR"),
    (KX, "KX"),
    (CERT, "CERT"),
    (DNAME, "DNAME"),
    (OPT, "OPT"),
    (APL, "APL"),
    (DS, "DS"),
    (SSHFP, "SSHFP"),
    (IPSECKEY, "IPSECKEY"),
    (RRSIG, "RRSIG"),
    (NSEC, "NSEC"),
    (DNSKEY, "DNSKEY"),
    (DHCID, "DHCID"),
    (NSEC3, "NSEC3"),
    (NSEC3PARAM, "NSEC3PARAM"),
    (TLSA, "TLSA"),
    (SMIMEA, "SMIMEA"),
    (HIP, "HIP"),
    (NINFO, "NINFO"),
    (RKEY, "RKEY"),
    (TALINK, "TALINK"),
    (CDS, "CDS"),
    (CDNSKEY, "CDNSKEY"),
    (OPENPGPKEY, "OPENPGPKEY"),
    (CSYNC, "CSYNC"),
    (ZONEMD, "ZONEMD"),
    (SVCB, "SVCB"),
    (HTTPS, "HTTPS"),
    (SPF, "SPF"),
    (UINFO, "UINFO"),
    (UID, "UID"),
    (GID, "GID"),
    (UNSPEC, "UNSPEC"),
    (NID, "NID"),
    (L32, "L32"),
    (L64, "L64"),
    (LP, "LP"),
    (EUI48, "EUI48"),
    (EUI64, "EUI64"),
    (NXNAME, "NXNAME"),
    (TKEY, "TKEY"),
    (TSIG, "TSIG"),
    (IXFR, "IXFR"),
    (AXFR, "AXFR"),
    (MAILB, "MAILB"),
    (MAILA, "MAILA"),
    (ANY, "ANY"),
    (URI, "URI"),
    (CAA, "CAA"),
    (AVC, "AVC"),
    (AMTRELAY, "AMTRELAY"),
    (RESINFO, "RESINFO"),
    (TA, "TA"),
    (DLV, "DLV"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_are_sorted_and_round_trip() {
        assert!(MNEMONICS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (number, text) in MNEMONICS {
            assert_eq!(parse(text), Some(*number));
            assert_eq!(mnemonic(*number), Some(*text));
        }
        assert_eq!(parse("TYPE65280"), Some(65280));
        assert_eq!(parse("a"), None);
        assert_eq!(Type(65280).to_string(), "TYPE65280");
        assert_eq!(Class(77).to_string(), "CLASS77");
    }
}
