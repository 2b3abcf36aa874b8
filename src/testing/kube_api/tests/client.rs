//! A client of a few lines.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::testing::kube_api::Api;

pub(super) const JSON: &str = "application/json";
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// An answer, of which the body is read as it comes.
pub(super) struct Answer<S> {
    pub(super) code: u16,
    pub(super) headers: Vec<(String, String)>,
    stream: BufReader<S>,
    /// Octets of the chunk that are not read yet.
    chunk: usize,
    is_chunked: bool,
    is_over: bool,
}

/// Asks for JSON.
pub(super) fn get(api: &Api, target: &str) -> Answer<TcpStream> {
    ask(api, target, JSON, "")
}

/// Asks with an Accept and any other header lines.
pub(super) fn ask(api: &Api, target: &str, accept: &str, headers: &str) -> Answer<TcpStream> {
    let stream = TcpStream::connect(api.addr()).unwrap();
    // A stream that should bring something and does not is a failure, not a hang.
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    Answer::read(stream, target, accept, headers).unwrap()
}

impl<S: Read + Write> Answer<S> {
    /// Sends the request and reads the head of the answer.
    pub(super) fn read(
        mut stream: S,
        target: &str,
        accept: &str,
        headers: &str,
    ) -> io::Result<Answer<S>> {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: api\r\nAccept: {accept}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        let mut stream = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            Ok::<_, io::Error>(line.trim_end().to_owned())
        };
        let status = line()?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut headers = Vec::new();
        loop {
            let line = line()?;
            let Some((key, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((key.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(key, _)| key == "content-length");
        let chunk = length.map_or(0, |(_, length)| length.parse().unwrap());
        Ok(Answer {
            code,
            is_chunked: length.is_none(),
            is_over: length.is_some() && chunk == 0,
            headers,
            stream,
            chunk,
        })
    }

    pub(super) fn header(&self, key: &str) -> &str {
        let found = self.headers.iter().find(|(one, _)| one == key);
        found.map_or("", |(_, value)| value)
    }

    /// The whole body. An error is one that ends in the middle.
    pub(super) fn octets(&mut self) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        self.read_to_end(&mut octets)?;
        Ok(octets)
    }

    /// The whole body as JSON.
    pub(super) fn json(&mut self) -> Value {
        serde_json::from_slice(&self.octets().unwrap()).unwrap()
    }

    /// So many octets of the body.
    pub(super) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.read_exact(&mut octets).unwrap();
        octets
    }

    /// The next event of a watch in JSON; None at the end.
    pub(super) fn event(&mut self) -> Option<Value> {
        let mut line = Vec::new();
        loop {
            let mut octet = [0];
            if self.read(&mut octet).unwrap() == 0 {
                assert!(line.is_empty(), "a line without end");
                return None;
            }
            if octet == *b"\n" {
                return Some(serde_json::from_slice(&line).unwrap());
            }
            line.push(octet[0]);
        }
    }

    /// The next event as `ADDED ns/name`, a bookmark as `BOOKMARK` or `BOOKMARK end`, an error as `ERROR code`.
    pub(super) fn told(&mut self) -> String {
        let Some(event) = self.event() else {
            return "end".into();
        };
        let (object, what) = (&event["object"], event["type"].as_str().unwrap());
        let meta = &object["metadata"];
        match what {
            "ERROR" => format!("ERROR {}", object["code"]),
            "BOOKMARK" if meta["annotations"]["k8s.io/initial-events-end"] == "true" => {
                "BOOKMARK end".into()
            }
            "BOOKMARK" => what.into(),
            _ => format!("{what} {}", name(object)),
        }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let len = usize::from_str_radix(line.trim_end(), 16);
        self.chunk = len.map_err(|_| io::ErrorKind::UnexpectedEof)?;
        if self.chunk == 0 {
            self.is_over = true;
            self.stream.read_line(&mut line)?;
        }
        Ok(())
    }
}

impl<S: Read + Write> Read for Answer<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.chunk == 0 && !self.is_over {
            self.next_chunk()?;
        }
        if self.is_over {
            return Ok(0);
        }
        let len = buf.len().min(self.chunk);
        let len = self.stream.read(&mut buf[..len])?;
        if len == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.chunk -= len;
        if self.chunk == 0 {
            if self.is_chunked {
                self.stream.read_line(&mut String::new())?;
            } else {
                self.is_over = true;
            }
        }
        Ok(len)
    }
}

impl Answer<TcpStream> {
    /// Leaves.
    pub(super) fn close(self) {
        self.stream.get_ref().shutdown(Shutdown::Both).unwrap();
    }
}

/// `namespace/name`.
pub(super) fn name(object: &Value) -> String {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap();
    match meta["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.into(),
    }
}

/// Names of a list's items.
pub(super) fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(name).collect()
}
