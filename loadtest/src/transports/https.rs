//! The little of HTTP/2 that a connection needs to ask one thing at a time (RFC 8484 by POST, RFC 9113, RFC 7541 without tables).
//!
//! Runs on: the generator's thread.

use std::io::{self, Read, Write};

use crate::security::SERVER_NAME;
use crate::stream::Stream;

/// One connection of HTTP/2.
pub struct Https {
    stream: Stream,
    next_id: u32,
}

impl Https {
    /// Begins HTTP/2 on a connection whose ALPN said so.
    pub fn begin(mut stream: Stream) -> io::Result<Https> {
        stream.write_all(PREFACE)?;
        stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
        stream.flush()?;
        Ok(Https { stream, next_id: 1 })
    }

    /// Posts a query, and waits for the body of the response to it.
    pub fn ask(&mut self, query: &[u8]) -> io::Result<Vec<u8>> {
        let id = self.next_id;
        self.next_id += 2;
        let mut request = frame(HEADERS, END_HEADERS, id, &request_headers());
        request.extend(frame(DATA, END_STREAM, id, query));
        self.stream.write_all(&request)?;
        self.stream.flush()?;
        let mut body = Vec::new();
        loop {
            let (kind, flags, of, payload) = self.read_frame()?;
            match kind {
                SETTINGS | PING if flags & ACK == 0 => {
                    let echoed = if kind == PING { &payload[..] } else { &[] };
                    self.stream.write_all(&frame(kind, ACK, 0, echoed))?;
                    self.stream.flush()?;
                }
                GO_AWAY => return Err(io::Error::other("the server ends the connection")),
                RST_STREAM if of == id => {
                    return Err(io::Error::other("the server ends the stream"));
                }
                DATA if of == id => body.extend_from_slice(unpadded(flags, &payload)),
                _ => {}
            }
            let is_part = matches!(kind, DATA | HEADERS);
            if is_part && of == id && flags & END_STREAM != 0 {
                return Ok(body);
            }
        }
    }

    /// The connection below.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Type, flags, stream and payload.
    fn read_frame(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        // Nobody was told that frames may be longer than 16 KiB.
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if len > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame of {len} bytes")));
        }
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(id) & !(1 << 31), payload))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Without what padding the frame has (RFC 9113 section 6.1).
fn unpadded(flags: u8, payload: &[u8]) -> &[u8] {
    match payload.split_first() {
        Some((&padding, rest)) if flags & PADDED != 0 => {
            &rest[..rest.len().saturating_sub(padding.into())]
        }
        _ => payload,
    }
}

/// Entries of the static table, and literals that are not indexed (RFC 7541 section 6.2.2).
fn request_headers() -> Vec<u8> {
    let mut block = vec![METHOD_POST, SCHEME_HTTPS];
    for (name, value) in [
        (&[0x04][..], "/dns-query"),
        (&[0x01], SERVER_NAME),
        // accept and content-type: 19 and 31, of which 15 fit the first byte.
        (&[0x0f, 0x04], MEDIA_TYPE),
        (&[0x0f, 0x10], MEDIA_TYPE),
    ] {
        block.extend_from_slice(name);
        // All of them are shorter than the 127 bytes that one byte can say.
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MEDIA_TYPE: &str = "application/dns-message";
const METHOD_POST: u8 = 0x83;
const SCHEME_HTTPS: u8 = 0x87;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const FRAME_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// What a client gets from a server that says these bytes and nothing else.
    fn body_of(said: Vec<u8>) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(&said).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            heard
        });
        let mut https = Https::begin(Stream::plain(tcp)).unwrap();
        let body = https.ask(b"query");
        drop(https);
        let heard = server.join().unwrap();
        assert!(heard.starts_with(PREFACE));
        assert!(heard.windows(5).any(|window| window == b"query"));
        body
    }

    #[test]
    fn the_body_is_found_between_other_frames() {
        let said = [
            frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 1, 0]),
            frame(PING, 0, 0, b"12345678"),
            frame(HEADERS, END_HEADERS, 1, &[0x88]),
            frame(DATA, 0, 3, b"another stream's"),
            frame(DATA, PADDED, 1, b"\x02re.."),
            frame(DATA, END_STREAM, 1, b"ply"),
        ];
        assert_eq!(body_of(said.concat()).unwrap(), b"reply");
        let empty = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x8d]);
        assert_eq!(body_of(empty).unwrap(), b"");
    }

    #[test]
    fn ends_and_nonsense_are_errors() {
        for said in [
            frame(RST_STREAM, 0, 1, &[0; 4]),
            frame(GO_AWAY, 0, 0, &[0; 8]),
            frame(DATA, 0, 1, b"not all"),
            vec![0xff; 9],
            Vec::new(),
        ] {
            assert!(body_of(said.clone()).is_err(), "{said:?}");
        }
        assert_eq!(unpadded(PADDED, &[9, 1]), b"", "more padding than there is");
        assert_eq!(unpadded(PADDED, &[]), b"");
    }
}
