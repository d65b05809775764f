//! A trained model behind HTTP, with a page on which one draws a digit.
//!
//! ```text
//! cargo run --release -p serve
//! cargo run --release -p serve -- --model digits.safetensors --port 8080
//! ```

use std::{net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use dfdx_noprop::AnyPredictor;
use serve::{
    batching::{Limits, Queue},
    digits,
    questions::{compute, rows_are_independent},
    routes::{Facts, router},
    server,
};

/// Serves a trained model: a page at /, JSON at /model, /predict and /along
#[derive(Parser)]
struct Options {
    /// The file of a predictor. Without it the server trains on the digits that the crate carries
    #[arg(long)]
    model: Option<PathBuf>,
    /// Write the model that is served to this file, for --model
    #[arg(long)]
    save: Option<PathBuf>,
    /// How often each digit is learned from, without --model
    #[arg(long, default_value_t = 40)]
    epochs: usize,
    /// The address to listen at; 0.0.0.0 for all of this machine's
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The port to listen at; 0 for one that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// How many rows of waiting requests are answered together
    #[arg(long, default_value_t = 256)]
    max_batch: usize,
    /// How many microseconds a request waits for others; 0 takes those that wait already
    #[arg(long, default_value_t = 0)]
    max_wait_us: u64,
    /// Answer each request by itself
    #[arg(long)]
    no_batching: bool,
    /// How many requests may wait; more are answered with status 503
    #[arg(long, default_value_t = 1024)]
    queue: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let (model, name) = model(options)?;
    let mut batch = if options.no_batching { 1 } else { options.max_batch };
    if batch > 1 && !rows_are_independent(&model)? {
        println!("a row's answer depends on those beside it: each request is answered by itself");
        batch = 1;
    }
    let wait = Duration::from_micros(options.max_wait_us);
    let limits = Limits { batch, wait, queue: options.queue };
    let facts = Facts::new(&model)?;

    let address = (options.address, options.port);
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
        let (address, port) = address;
        format!("cannot listen at {address}, port {port}: {error}. Try another --port or --address")
    })?;
    println!(
        "{name}: {}, {} inputs, {} outputs, at http://{}; Ctrl-C ends it",
        model.variant(),
        model.inputs(),
        model.outputs(),
        listener.local_addr()?
    );
    let compute = move |question, rows: &[f32]| compute(&model, question, rows);
    let (queue, worker) = Queue::start(limits, compute)?;
    server::serve(listener, router(facts, queue), worker, server::asked_to_end()).await?;
    println!("ended; what had been asked is answered");
    Ok(())
}

/// The model, and what to call it.
fn model(options: &Options) -> Result<(AnyPredictor, String), dfdx_noprop::Error> {
    let (model, name) = match &options.model {
        Some(path) => (AnyPredictor::load(path)?, path.display().to_string()),
        None => {
            println!("training on the digits that the crate carries; --model FILE serves a file");
            let (model, accuracy) = digits::train(options.epochs)?;
            (model, format!("digits, {:.1} % of the test digits right", 100.0 * accuracy))
        }
    };
    if let Some(path) = &options.save {
        model.save(path)?;
        println!("written to {}", path.display());
    }
    Ok((model, name))
}
