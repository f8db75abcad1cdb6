//! HTTP/1.1 over a blocking connection that is kept, as little of it as the benchmarks need, and percentiles.

pub mod watermark;

use std::{
    io::{self, Read},
    net::TcpStream,
    time::Duration,
};

use memchr::memmem;

/// One message: its first line with the headers, and its body.
pub struct Message<'a> {
    /// First line and headers, up to the empty line.
    pub head: &'a [u8],
    /// What comes after.
    pub body: &'a [u8],
}

/// Reads messages from one connection.
pub struct Connection {
    /// For writing.
    pub stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes read, and of these the ones of the message given out last.
    filled: usize,
    used: usize,
}

impl Connection {
    /// Takes a connection over.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 256 << 10], filled: 0, used: 0 })
    }

    /// The next message; `None` when the other side closed between two.
    pub fn read(&mut self) -> io::Result<Option<Message<'_>>> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let mut wanted = None;
        loop {
            if wanted.is_none() {
                wanted = frame(&self.buffer[..self.filled])?;
            }
            if let Some((head, end)) = wanted
                && self.filled >= end
            {
                self.used = end;
                return Ok(Some(Message { head: &self.buffer[..head], body: &self.buffer[head..end] }));
            }
            let room = wanted.map_or(0, |(_, end)| end).max(self.filled + (64 << 10));
            if self.buffer.len() < room {
                self.buffer.resize(room, 0);
            }
            match self.stream.read(&mut self.buffer[self.filled..])? {
                0 if self.filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.filled += n,
            }
        }
    }
}

/// Where the headers end and where the message does, once all headers are there.
#[expect(clippy::disallowed_methods, reason = "a header is no SQL")]
fn frame(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head) = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let mut length = 0;
    for line in bytes[..head].split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = number(value) as usize;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(io::Error::other("a message in chunks: these tools read Content-Length only"));
        }
    }
    Ok(Some((head, head + length)))
}

/// The digits at the beginning, as a number.
pub fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, byte| number * 10 + u64::from(byte - b'0'))
}

/// The request of a sender that keeps its connection.
pub fn post(host: &str, path: &str, token: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Host with port, and path, of an `http://` URL.
pub fn parts(url: &str) -> (String, String) {
    let rest = url.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (host.to_owned(), format!("/{path}"))
}

/// `"p50": …, "p99": …, "max": …` in microseconds.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let micros = |part: usize| match times.len() {
        0 => 0.0,
        n => times[(n * part / 1000).min(n - 1)].as_secs_f64() * 1e6,
    };
    format!(r#""p50": {:.1}, "p99": {:.1}, "max": {:.1}"#, micros(500), micros(990), micros(1000))
}

/// The value that follows `name` on the command line.
pub fn option(arguments: &mut Vec<String>, name: &str) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.remove(at);
    (at < arguments.len()).then(|| arguments.remove(at))
}
