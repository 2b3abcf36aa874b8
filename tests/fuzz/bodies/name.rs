//! Any octets as a name: compressed at any place, plain, and as text.

use percoredns::wire::name::{
    self, NameBuf, Suffixes, Text, hash, is_within, label_count, lower_and_hash,
};

/// One input.
pub fn run(octets: &[u8]) {
    for at in 0..octets.len().min(32) {
        compressed(octets, at);
    }
    if let Ok(name) = NameBuf::from_wire(octets) {
        assert_eq!(name::skip_uncompressed(octets), Ok(name.as_wire().len()));
        check(&name);
    }
    if let Ok(name) = NameBuf::from_text(&String::from_utf8_lossy(octets)) {
        check(&name);
    }
}

fn compressed(octets: &[u8], at: usize) {
    let mut in_place = NameBuf::ROOT;
    let read = NameBuf::read(octets, at);
    let same = in_place.read_in(octets, at);
    check(&in_place);
    let Ok((name, end)) = read else {
        assert!(same.is_err());
        return;
    };
    assert_eq!((same, in_place), (Ok(end), name));
    assert!(at < end && end <= octets.len());
    assert_eq!(name::skip(octets, at), Ok(end));
    check(&name);
}

/// What holds of every name.
fn check(name: &NameBuf) {
    let wire = name.as_wire();
    assert!((1..=255).contains(&wire.len()) && wire.last() == Some(&0));
    assert_eq!(Suffixes::new(wire).count(), label_count(wire) + 1);
    assert!(label_count(wire) <= 127);
    for suffix in Suffixes::new(wire) {
        assert!(is_within(wire, suffix));
    }
    let mut lower = NameBuf::ROOT;
    let hashed = lower_and_hash(wire, &mut lower);
    assert_eq!((hashed, lower), (hash(wire), name.to_lower()));
    let text = Text(wire).to_string();
    assert_eq!(NameBuf::from_text(&text), Ok(*name), "{text}");
}
