//! Replicas at no cost: `sink PORTS [--record FILE]` serves as many as `PORTS` says until its standard input ends.
//!
//! It prints `listening PORT…` when ready. `--record` keeps the bodies the first one gets, each with its length in front
//! (4 bytes, little-endian). `GET /hold` makes a replica keep its answers back, `GET /release` gives them out, `GET /count`
//! tells requests, writes and bytes so far.

use std::{
    fs::File,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use afterquery_bench::{Connection, option, watermark::Watermarks};

#[derive(Default)]
struct Replica {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    marks: Watermarks,
    record: Option<File>,
    held: bool,
    requests: u64,
    writes: u64,
    bytes: u64,
}

impl Replica {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn query(&self, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let wait = self.released.wait_while(self.state(), |state| state.held);
        let mut state = wait.unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut state.record {
            file.write_all(&(body.len() as u32).to_le_bytes())?;
            file.write_all(body)?;
        }
        let reply = state.marks.answer(body);
        state.requests += 1;
        state.writes += reply.writes;
        state.bytes += body.len() as u64;
        Ok((reply.status, reply.body))
    }

    fn control(&self, path: &[u8]) -> (u16, Vec<u8>) {
        let mut state = self.state();
        if path == b"/hold" || path == b"/release" {
            state.held = path == b"/hold";
            self.released.notify_all();
        }
        let State { requests, writes, bytes, .. } = *state;
        (200, format!(r#"{{"requests": {requests}, "writes": {writes}, "bytes": {bytes}}}"#).into_bytes())
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut connection = Connection::new(stream)?;
        let mut out = Vec::new();
        while let Some(message) = connection.read()? {
            let mut words = message.head.split(|&byte| byte == b' ');
            let (status, body) = match (words.next(), words.next()) {
                (Some(b"GET"), Some(path)) => self.control(path),
                _ => self.query(message.body)?,
            };
            out.clear();
            write!(
                out,
                "HTTP/1.1 {status} _\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )?;
            out.extend_from_slice(&body);
            connection.stream.write_all(&out)?;
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut record = option(&mut arguments, "--record").map(File::create).transpose()?;
    let count: usize = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut ports = String::new();
    for _ in 0..count {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        ports += &format!(" {}", listener.local_addr()?.port());
        let replica = Arc::new(Replica::default());
        replica.state().record = record.take();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let replica = Arc::clone(&replica);
                // How a connection ends is the sender's business.
                thread::spawn(move || replica.serve(stream).ok());
            }
        });
    }
    println!("listening{ports}");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
