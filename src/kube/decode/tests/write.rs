//! Protobuf messages for tests, written field by field.

/// A field that holds octets: text or a message.
pub(super) fn field(number: u64, octets: impl AsRef<[u8]>) -> Vec<u8> {
    let octets = octets.as_ref();
    let mut message = varint(number << 3 | 2);
    message.extend(varint(octets.len() as u64));
    message.extend(octets);
    message
}

/// A field that holds a number.
pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
    let mut message = varint(field << 3);
    message.extend(varint(value));
    message
}

/// An entry of a map of strings.
pub(super) fn entry(field_number: u64, key: &str, value: &str) -> Vec<u8> {
    field(field_number, [field(1, key), field(2, value)].concat())
}

/// `metav1.ObjectMeta`; fields that nobody reads are there too.
pub(super) fn meta(namespace: &str, name: &str, version: &str, rest: &[Vec<u8>]) -> Vec<u8> {
    let meta = [
        field(1, name),
        field(3, namespace),
        field(5, "0b5f6d6c-uid"),
        field(6, version),
        number(7, 300),
        field(8, number(1, 1_700_000_000)),
        rest.concat(),
        // managedFields, the largest part of most objects.
        field(17, vec![b'x'; 300]),
    ];
    field(1, meta.concat())
}

/// What is before every message.
pub(super) fn wrap(kind: &str, message: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, "v1"), field(2, kind)].concat();
    let unknown = [
        field(1, type_meta),
        field(2, message),
        field(3, ""),
        field(4, ""),
    ];
    [b"k8s\0".to_vec(), unknown.concat()].concat()
}

/// A body with all items.
pub(super) fn list(version: &str, next: &str, items: &[Vec<u8>]) -> Vec<u8> {
    let meta = [
        field(1, ""),
        field(2, version),
        field(3, next),
        number(4, 7),
    ]
    .concat();
    let items: Vec<_> = items.iter().map(|item| field(2, item)).collect();
    wrap("List", &[field(1, meta), items.concat()].concat())
}

/// One frame of a watch.
pub(super) fn frame(kind: &str, object: &[u8]) -> Vec<u8> {
    let event = [field(1, kind), field(2, field(1, wrap("Object", object)))].concat();
    [(event.len() as u32).to_be_bytes().to_vec(), event].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    while value >= 0x80 {
        octets.push(value as u8 | 0x80);
        value >>= 7;
    }
    octets.push(value as u8);
    octets
}
