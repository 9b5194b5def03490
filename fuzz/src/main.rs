//! Inputs that nobody thought of, for everything that reads what comes from outside.
//!
//! One program for all targets, so that it is built once: `FUZZ_TARGET` names the one that is run, and
//! all arguments are libFuzzer's. `FUZZ_TARGET=list` prints the names; with `FUZZ_SEEDS`, the inputs
//! from which a target starts are written into that folder, and nothing is run.
//!
//! A target fails when it panics, takes more memory than its input warrants, takes too long, or breaks
//! a promise that it asserts.

#![no_main]

mod configured;
mod input;
mod memory;
mod targets;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;
use std::{env, fs, process};

use libfuzzer_sys::fuzz_target;

use targets::{TARGETS, Target};

/// Longest word of the dictionary; libFuzzer takes 64 bytes.
const WORD_BYTES_MAX: usize = 63;

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(init: start(), |input: &[u8]| run(input));

fn run(input: &[u8]) {
    let target = CHOSEN.get().expect("a target is chosen before the first input");
    memory::bounded(input.len(), || (target.run)(input));
}

#[expect(
    clippy::disallowed_methods,
    reason = "libFuzzer owns the arguments; the environment is what is left"
)]
fn start() {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        println!("{}", names.join("\n"));
        process::exit(i32::from(name != "list"));
    };
    if let Ok(folder) = env::var("FUZZ_SEEDS") {
        write_seeds(target, Path::new(&folder));
        process::exit(0);
    }
    configured::prepare();
    CHOSEN.get_or_init(|| target);
}

fn write_seeds(target: &Target, folder: &Path) {
    let seeds = (target.seeds)();
    for word in words(&seeds) {
        println!("\"{word}\"");
    }
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:04}")), seed).expect("the folder can be written to");
    }
}

/// The words of the seeds, for the fuzzer's dictionary: comparisons of text do not lead it to them.
fn words(seeds: &[Vec<u8>]) -> BTreeSet<String> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:@#".contains(byte);
    let words = seeds.iter().flat_map(|seed| seed.split(move |byte| !is_word(byte)));
    let words = words.filter(|word| (2..=WORD_BYTES_MAX).contains(&word.len()));
    words.filter_map(|word| String::from_utf8(word.to_vec()).ok()).collect()
}
