//! The ceiling of a sender: `post FILE TOKEN [--gap MICROSECONDS] URL…` posts the recorded bodies of FILE in order to each
//! URL, one connection and one thread each, everything built before the clock starts.
//!
//! The first body is sent before the clock starts (it is the handshake). Prints a line of JSON: seconds from the start to
//! the last answer, requests, and the percentiles of their times in microseconds. Any answer but a result ends it with an
//! error. With `--gap` the sender rests before each request.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use afterquery_bench::{Connection, option, parts, percentiles, post};

fn bodies(recorded: &[u8]) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    let mut rest = recorded;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (body, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        bodies.push(body);
        rest = tail;
    }
    bodies
}

#[expect(clippy::disallowed_methods, reason = "an answer is no SQL")]
fn send(connection: &mut Connection, request: &[u8]) -> io::Result<()> {
    connection.stream.write_all(request)?;
    let Some(answer) = connection.read()? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    if answer.head.starts_with(b"HTTP/1.1 200") && answer.body.trim_ascii_start().starts_with(b"{\"result\"")
    {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)]).into_owned();
    Err(io::Error::other(text))
}

fn run(
    host: &str,
    requests: &[Vec<u8>],
    gap: Duration,
    start: &Barrier,
) -> io::Result<(Instant, Instant, Vec<Duration>)> {
    let mut connection = Connection::new(TcpStream::connect(host)?)?;
    let (first, rest) = requests.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let greeted = send(&mut connection, first);
    start.wait();
    greeted?;
    let begun = Instant::now();
    let mut times = Vec::with_capacity(rest.len());
    for request in rest {
        if !gap.is_zero() {
            thread::sleep(gap);
        }
        let sent = Instant::now();
        send(&mut connection, request)?;
        times.push(sent.elapsed());
    }
    Ok((begun, Instant::now(), times))
}

fn main() -> io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let gap = option(&mut arguments, "--gap").and_then(|text| text.parse().ok()).unwrap_or(0);
    let [file, token, urls @ ..] = arguments.as_slice() else {
        return Err(io::Error::other("post FILE TOKEN [--gap MICROSECONDS] URL..."));
    };
    let recorded = std::fs::read(file)?;
    let start = Arc::new(Barrier::new(urls.len()));
    let threads: Vec<_> = urls
        .iter()
        .map(|url| {
            let (host, _) = parts(url);
            let requests: Vec<_> =
                bodies(&recorded).into_iter().map(|body| post(&host, "/query", token, body)).collect();
            let start = Arc::clone(&start);
            thread::spawn(move || run(&host, &requests, Duration::from_micros(gap), &start))
        })
        .collect();
    let (mut begun, mut ended, mut times) = (None::<Instant>, None::<Instant>, Vec::new());
    for thread in threads {
        let (first, last, these) = thread.join().map_err(|_| io::Error::other("a sender panicked"))??;
        begun = Some(begun.map_or(first, |known| known.min(first)));
        ended = Some(ended.map_or(last, |known| known.max(last)));
        times.extend(these);
    }
    let seconds = ended.zip(begun).map_or(0.0, |(ended, begun)| (ended - begun).as_secs_f64());
    println!(r#"{{"seconds": {seconds}, "requests": {}, {}}}"#, times.len(), percentiles(times));
    Ok(())
}
