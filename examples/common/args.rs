//! The arguments that every example has.

use std::time::Duration;

use bpf_atlas::probes::{AttachKind, XdpMode};
use clap::ValueEnum;

/// Flatten it into an example's own: `#[command(flatten)] common: Common`. An
/// example that sorts adds `-s/--sort`, one that filters by process
/// `-p/--pid`, and no other meaning is given to the letters i, d, n, s and p.
/// So it is with `-x` (failures) and `-c` (counts per something: `--per-cpu`,
/// `--per-flow`).
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Time between two prints, as in 500ms, 2s, 1m
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub interval: Duration,

    /// End after this time; without it, at Ctrl-C
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Show this many rows; 20, and with --json all, unless given
    #[arg(short = 'n', long, value_name = "ROWS")]
    pub top: Option<usize>,

    /// Print once, after one interval, and end
    #[arg(long)]
    pub once: bool,

    /// Print NDJSON: one object a line
    #[arg(long)]
    pub json: bool,
}

impl Common {
    /// How many rows to print.
    pub fn rows(&self) -> usize {
        self.top.unwrap_or(if self.json { usize::MAX } else { 20 })
    }
}

/// `500ms`, `2s`, `1.5m`, `1h`; a bare number is seconds. Not 0.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time like 500ms, 2s or 1m");
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time >= Duration::from_millis(1) => Ok(time),
        Ok(_) => Err("it is at least 1ms".into()),
        Err(_) => Err(wrong()),
    }
}

/// `--attach`: how a probe of tracepoints is attached.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    #[value(name = "tp_btf")]
    TpBtf,
    #[value(name = "raw_tp")]
    RawTp,
    Tracepoint,
}

impl From<Kind> for AttachKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::TpBtf => Self::TpBtf,
            Kind::RawTp => Self::RawTracepoint,
            Kind::Tracepoint => Self::Tracepoint,
        }
    }
}

/// `-m/--mode`: where a probe of packets runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Mode {
    Auto,
    Native,
    Generic,
}

impl From<Mode> for XdpMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

/// `--ring-size`.
pub fn ring_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size) if size.is_power_of_two() && size >= 4096 => Ok(size),
        _ => Err("it is a power of two, 4096 or more".into()),
    }
}
