//! The relay's benchmarks: `cargo bench --bench relay [-- NAME…]`, or `scripts/bench`.
//!
//! Prints a table of what was measured against what was hoped for. A number never fails a run; a
//! webhook that is not accepted, an event that is lost, or a vendor that ends unequal does.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts and times of a benchmark fit a float many times over"
)]

mod accept;
mod bodies;
mod coalescing;
mod costs;
mod forgetful;
mod growth;
mod home;
mod latency;
mod load;
mod memory;
mod program;
mod report;
mod resync;
mod start;
mod timeline;
mod vendor;
mod watched;

use std::io::{self, Write};
use std::process::ExitCode;

use report::Figure;
use tokio::time::Instant;

#[derive(Clone, Copy)]
enum Benchmark {
    Accept,
    Coalescing,
    Costs,
    Growth,
    Latency,
    Memory,
    Resync,
    Start,
    Timeline,
}

impl Benchmark {
    const ALL: [(&str, Self); 9] = [
        ("accept", Self::Accept),
        ("coalescing", Self::Coalescing),
        ("costs", Self::Costs),
        ("growth", Self::Growth),
        ("latency", Self::Latency),
        ("memory", Self::Memory),
        ("resync", Self::Resync),
        ("start", Self::Start),
        ("timeline", Self::Timeline),
    ];

    async fn run(self) -> Vec<Figure> {
        match self {
            Self::Accept => accept::run().await,
            Self::Coalescing => coalescing::run().await,
            Self::Costs => costs::run().await,
            Self::Growth => growth::run().await,
            Self::Latency => latency::run().await,
            Self::Memory => memory::run().await,
            Self::Resync => resync::run().await,
            Self::Start => start::run().await,
            Self::Timeline => timeline::run().await,
        }
    }
}

fn main() -> ExitCode {
    // Cargo passes flags of its own.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let names = Benchmark::ALL.map(|(name, _)| name);
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        drop(writeln!(io::stderr(), "no benchmark is named {unknown}; there are {}", names.join(", ")));
        return ExitCode::from(2);
    }
    let chosen = Benchmark::ALL
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
    match tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(run(chosen))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "failed to print the results: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(chosen: impl Iterator<Item = (&'static str, Benchmark)>) -> io::Result<()> {
    let mut figures = Vec::new();
    for (name, benchmark) in chosen {
        let began = Instant::now();
        figures.extend(benchmark.run().await);
        writeln!(io::stderr(), "{name}: {:.0} s", began.elapsed().as_secs_f64())?;
    }
    report::write_table(&mut io::stdout().lock(), &figures)
}
