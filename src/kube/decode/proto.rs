//! Reading of protobuf messages that are whole in memory: fields in their order, and what is not known is passed over.

/// What a field holds. Numbers of fixed length occur in no message that is read here and are passed over.
pub(super) enum Value<'a> {
    Varint(u64),
    Octets(&'a [u8]),
}

/// The bytes are no protobuf message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Calls `each` with number and value of every field.
///
/// # Errors
/// The message ends within a field, a field is of a kind that proto3 does not have, or `each` refused one.
pub(super) fn fields<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u64, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !message.is_empty() {
        let (number, kind) = key(take_varint(&mut message)?)?;
        match kind {
            VARINT => each(number, Value::Varint(take_varint(&mut message)?))?,
            FIXED64 => drop(take(&mut message, 8)?),
            OCTETS => {
                let len = take_varint(&mut message)?;
                each(number, Value::Octets(take(&mut message, len)?))?;
            }
            FIXED32 => drop(take(&mut message, 4)?),
            _ => return Err(Malformed),
        }
    }
    Ok(())
}

/// Number and kind of a field.
pub(super) fn key(varint: u64) -> Result<(u64, u8), Malformed> {
    match varint >> 3 {
        0 => Err(Malformed),
        number => Ok((number, (varint & 7) as u8)),
    }
}

/// A varint at the start of `input` and its length, or `None` where the input ends within it.
pub(super) fn varint(input: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0u64;
    for (index, &octet) in input.iter().take(VARINT_OCTETS).enumerate() {
        value |= u64::from(octet & 0x7f) << (7 * index);
        if octet & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if input.len() >= VARINT_OCTETS {
        return Err(Malformed);
    }
    Ok(None)
}

fn take_varint(input: &mut &[u8]) -> Result<u64, Malformed> {
    let (value, len) = varint(input)?.ok_or(Malformed)?;
    *input = &input[len..];
    Ok(value)
}

fn take<'a>(input: &mut &'a [u8], len: u64) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(len).map_err(|_| Malformed)?;
    let (taken, rest) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = rest;
    Ok(taken)
}

/// Kinds of fields.
pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const OCTETS: u8 = 2;
pub(super) const FIXED32: u8 = 5;
/// A number of 64 bits takes no more.
pub(super) const VARINT_OCTETS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(message: &[u8]) -> Result<Vec<(u64, String)>, Malformed> {
        let mut seen = Vec::new();
        fields(message, |number, value| {
            let text = match value {
                Value::Varint(value) => value.to_string(),
                Value::Octets(octets) => format!("{octets:?}"),
            };
            seen.push((number, text));
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn fields_in_their_order() {
        let message = [
            0x08, 0x96, 0x01, 0x12, 0x02, 7, 8, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8,
            0x82, 0x01, 0x00,
        ];
        let expect = [(1, "150"), (2, "[7, 8]"), (16, "[]")];
        assert_eq!(
            seen(&message).unwrap(),
            expect.map(|(number, text)| (number, text.to_owned()))
        );
    }

    #[test]
    fn what_is_no_message() {
        for message in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x12, 3, 1, 2],
            &[0x0b, 0x0c],
            &[0x00, 0x00],
            &[0x1d, 1, 2, 3],
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
            &[0x12, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        ] {
            assert_eq!(seen(message), Err(Malformed), "{message:?}");
        }
    }
}
