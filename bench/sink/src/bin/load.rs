//! Requests at a steady pace: `load URL BODY --seconds S [--rate R] [--connections C]`.
//!
//! With a rate the load is open: request number n is due n/R seconds after the start, and its time counts from there,
//! however late a connection was free for it; what was not sent when the time is up is left out. Without a rate each
//! connection sends its next request at once. Prints a line of JSON: requests, errors, seconds, and the percentiles of
//! their times in microseconds.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use afterquery_bench::{Connection, option, parts, percentiles, post};

struct Plan {
    host: String,
    request: Vec<u8>,
    begin: Instant,
    end: Instant,
    /// Seconds between two requests; `None` as fast as answers come.
    period: Option<f64>,
    next: AtomicU64,
}

impl Plan {
    /// When the next request is due, once it is time for it; `None` when the end has come.
    fn wait(&self) -> Option<Instant> {
        let due = match self.period {
            None => Instant::now(),
            Some(period) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.begin + Duration::from_secs_f64(number as f64 * period)
            }
        };
        let now = Instant::now();
        if due >= self.end || now >= self.end {
            return None;
        }
        thread::sleep(due.saturating_duration_since(now));
        Some(due)
    }

    fn run(&self) -> io::Result<(Vec<Duration>, u64)> {
        let mut connection = Connection::new(TcpStream::connect(&self.host)?)?;
        let (mut times, mut errors) = (Vec::new(), 0);
        while let Some(due) = self.wait() {
            connection.stream.write_all(&self.request)?;
            let Some(answer) = connection.read()? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            errors += u64::from(!answer.head.starts_with(b"HTTP/1.1 2"));
            times.push(due.elapsed());
        }
        Ok((times, errors))
    }
}

fn main() -> io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut number = |name: &str| option(&mut arguments, name).and_then(|text| text.parse::<f64>().ok());
    let seconds = number("--seconds").unwrap_or(1.0);
    let period = number("--rate").map(|rate| 1.0 / rate);
    let connections = number("--connections").unwrap_or(32.0) as usize;
    let [url, body] = arguments.as_slice() else {
        return Err(io::Error::other("load URL BODY --seconds S [--rate R] [--connections C]"));
    };
    let (host, path) = parts(url);
    let request = post(&host, &path, "bench", body.as_bytes());
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let plan = Arc::new(Plan { host, request, begin, end, period, next: AtomicU64::new(0) });
    let start = |_| {
        let plan = Arc::clone(&plan);
        thread::spawn(move || plan.run())
    };
    let threads: Vec<_> = (0..connections).map(start).collect();
    let (mut times, mut errors) = (Vec::new(), 0);
    for thread in threads {
        let (these, failed) = thread.join().map_err(|_| io::Error::other("a sender panicked"))??;
        times.extend(these);
        errors += failed;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        r#"{{"requests": {}, "errors": {errors}, "seconds": {seconds}, {}}}"#,
        times.len(),
        percentiles(times)
    );
    Ok(())
}
