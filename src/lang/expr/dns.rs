//! The functions that CoreDNS gives to every expression.

use std::net::IpAddr;

use super::value::Type;
use super::{Function, Value};

/// Names and types of the functions over a query; `type` hides expr-lang's own `type`.
pub const DNS_FUNCTIONS: [Function; 15] = [
    function("bufsize", &[], Type::Int),
    function("class", &[], Type::Str),
    function("client_ip", &[], Type::Str),
    function("do", &[], Type::Bool),
    function("id", &[], Type::Int),
    function("incidr", &[Type::Str, Type::Str], Type::Bool),
    function("metadata", &[Type::Str], Type::Str),
    function("name", &[], Type::Str),
    function("opcode", &[], Type::Int),
    function("port", &[], Type::Str),
    function("proto", &[], Type::Str),
    function("server_ip", &[], Type::Str),
    function("server_port", &[], Type::Str),
    function("size", &[], Type::Int),
    function("type", &[], Type::Str),
];

/// `incidr(ip, cidr)`: whether the address lies in the block. An IPv4-mapped address counts as IPv4, as in Go.
pub fn incidr(args: &[Value<'_>]) -> Result<Value<'static>, String> {
    let [ip, cidr] = args else {
        return Err("incidr takes an address and a CIDR".into());
    };
    let ip = ip
        .as_str()
        .and_then(|ip| ip.parse::<IpAddr>().ok())
        .ok_or("first argument is not an IP address")?;
    let cidr = cidr.as_str().unwrap_or("");
    let invalid = || format!("invalid CIDR address: {cidr}");
    let (base, bits) = cidr.split_once('/').ok_or_else(invalid)?;
    let base: IpAddr = base.parse().map_err(|_| invalid())?;
    let plain = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
    let bits: u32 = bits.parse().ok().filter(|_| plain).ok_or_else(invalid)?;
    let inside = match (base, ip.to_canonical()) {
        (IpAddr::V4(_), _) if bits > 32 => return Err(invalid()),
        (IpAddr::V6(_), _) if bits > 128 => return Err(invalid()),
        (IpAddr::V4(base), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            base.to_bits() & mask == ip.to_bits() & mask
        }
        (IpAddr::V6(base), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            base.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    };
    Ok(Value::Bool(inside))
}

const fn function(name: &'static str, args: &'static [Type], returns: Type) -> Function {
    Function {
        name,
        args,
        returns,
    }
}
