//! Load for the server: connections that ask for one answer after another.
//!
//! ```text
//! cargo run --release -p serve --bin load -- --connections 64 --seconds 10
//! ```

use std::time::{Duration, Instant};

use clap::Parser;
use dfdx_noprop::data::digits_rows;
use http_body_util::BodyExt;
use hyper::{Request, StatusCode, client::conn::http1::SendRequest, header::HOST};
use hyper_util::rt::TokioIo;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks a server of the digits for answers, as fast as it gives them
#[derive(Clone, Parser)]
struct Options {
    /// How many connections, each with one request at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// For how long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rows in a request
    #[arg(long, default_value_t = 1)]
    rows: usize,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The server's process, to tell its memory at start and end
    #[arg(long)]
    pid: Option<u32>,
    /// Print the result as one JSON object, as the last line of stdout
    #[arg(long)]
    json: bool,
}

/// What a connection saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: usize,
    first_error: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let bodies = bodies(options.rows)?;
    let host = options.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    connect(&host).await.map_err(|error| format!("no server at {}: {error}", options.url))?;

    let before = options.pid.and_then(memory_mb);
    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    let tasks: Vec<_> = (0..options.connections)
        .map(|first| tokio::spawn(ask(host.clone(), bodies, first, end)))
        .collect();
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await?;
        all.latencies.extend(seen.latencies);
        all.errors += seen.errors;
        all.first_error = all.first_error.or(seen.first_error);
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = options.pid.and_then(memory_mb);
    report(&options, all, seconds, [before, after]);
    Ok(())
}

/// The bodies of requests, made beforehand, so that making them takes no time from the server. They
/// live as long as the program.
fn bodies(rows: usize) -> Result<&'static [String], Failure> {
    let data = digits_rows()?;
    let body = |rows: &[[f32; 64]]| {
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
        serde_json::json!({ "rows": rows }).to_string()
    };
    let bodies: Vec<_> = data.samples().chunks_exact(rows.max(1)).map(body).collect();
    match bodies.is_empty() {
        true => Err(format!("expected --rows up to {}, found {rows}", data.rows()).into()),
        false => Ok(bodies.leak()),
    }
}

async fn connect(host: &str) -> Result<SendRequest<String>, Failure> {
    let stream = tokio::net::TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One request after another, on a connection that is made again when it breaks.
async fn ask(host: String, bodies: &'static [String], first: usize, end: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut bodies = bodies.iter().cycle().skip(first * 31);
    while Instant::now() < end {
        let asked = async {
            let mut sender = connect(&host).await?;
            while let Some(body) = bodies.next().filter(|_| Instant::now() < end) {
                let start = Instant::now();
                answer(&mut sender, &host, body).await?;
                seen.latencies.push(start.elapsed());
            }
            Ok::<(), Failure>(())
        };
        if let Err(error) = asked.await {
            seen.errors += 1;
            seen.first_error.get_or_insert(error.to_string());
        }
    }
    seen
}

async fn answer(sender: &mut SendRequest<String>, host: &str, body: &str) -> Result<(), Failure> {
    sender.ready().await?;
    let request = Request::post("/predict").header(HOST, host).body(body.to_owned())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    match status {
        StatusCode::OK => Ok(()),
        _ => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
    }
}

fn report(options: &Options, mut seen: Seen, seconds: f64, memory: [Option<f64>; 2]) {
    seen.latencies.sort_unstable();
    let answered = seen.latencies.len();
    let at = |part: f64| {
        let place = (part * answered as f64) as usize;
        let latency = seen.latencies.get(place.min(answered.saturating_sub(1)));
        1e3 * latency.copied().unwrap_or_default().as_secs_f64()
    };
    let (rate, [p50, p99, max]) = (answered as f64 / seconds, [0.5, 0.99, 1.0].map(at));
    println!("{answered} answers in {seconds:.1} s: {rate:.0} requests/s");
    println!("latency: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms");
    println!("errors: {}", seen.errors);
    if let Some(error) = &seen.first_error {
        println!("the first: {error}");
    }
    if let [Some(before), Some(after)] = memory {
        println!("memory of the server: {before:.1} MB at the start, {after:.1} MB at the end");
    }
    if options.json {
        let result = serde_json::json!({
            "connections": options.connections,
            "rows": options.rows,
            "seconds": seconds,
            "answers": answered,
            "requests_per_second": rate,
            "p50_ms": p50,
            "p99_ms": p99,
            "max_ms": max,
            "errors": seen.errors,
            "memory_start_mb": memory[0],
            "memory_end_mb": memory[1],
        });
        println!("{result}");
    }
}

/// `VmRSS` of a process, where there is /proc.
fn memory_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}
