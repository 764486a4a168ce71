//! What the examples have in common, so that a flag, a footer and an exit code
//! mean the same in each of them.

// No example needs all of it.
#![allow(dead_code, unused_imports)]

mod args;
mod clock;
mod events;
mod json;
mod loss;
mod output;
mod table;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use bpf_atlas::probes::{Health, ProbeError};

pub use args::{Common, Kind, Mode, ring_size};
pub use clock::{Clock, Wake};
pub use events::follow;
pub use json::object;
pub use loss::Loss;
pub use output::{Frame, Output, age, time_of_day};
pub use table::{Align, Column, Table, printable};

/// Runs an example. A failure is a sentence on stderr and exit code 1; clap
/// exits with 2 for wrong usage.
pub fn run(example: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    match example() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", sentence(&*error));
            ExitCode::FAILURE
        }
    }
}

fn sentence(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    // What to type, with this very file in it.
    match (error.downcast_ref::<ProbeError>(), std::env::current_exe()) {
        (Some(error), Ok(file)) if error.missing().is_some() => {
            text.replace("FILE", &file.display().to_string())
        }
        _ => text,
    }
}

/// The line under each table: `entries 412/10240 · dropped 0 · read 0.3 ms`.
pub fn footer(health: &Health, read: Duration) -> String {
    format!("{health} · read {:.1} ms", read.as_secs_f64() * 1e3)
}
