//! [`Loss`]: says what was not counted, always.

use std::io;
use std::time::{Duration, Instant};

use bpf_atlas::probes::Health;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::object;
use super::output::Output;

/// Keeps an eye on a probe's health.
pub struct Loss {
    /// What helps when a map or ring was full, as `raise --max-entries`.
    advice: &'static str,
    started: Instant,
    said: u64,
    said_at: Option<Instant>,
    last: Health,
}

impl Loss {
    /// Begins now.
    pub fn new(advice: &'static str) -> Self {
        let started = Instant::now();
        Self { advice, started, said: 0, said_at: None, last: Health::default() }
    }

    /// Takes the health of a tick. When loss grew it says so on stderr, at most
    /// once a second; not beside a live table, which has it in its footer. With
    /// `--json` it prints an object of type `health`.
    ///
    /// # Errors
    /// Of the write.
    pub fn note(&mut self, health: &Health, read: Duration, output: &mut Output) -> io::Result<()> {
        self.last = *health;
        let due = self.said_at.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        if health.dropped() > self.said && due && !output.is_live() {
            eprintln!("warning: {}", self.sentence());
            self.said = health.dropped();
            self.said_at = Some(Instant::now());
        }
        if output.is_json() {
            let mut fields = fields(health);
            fields["read_ns"] = json!(read.as_nanos() as u64);
            output.json(&object("health", Timestamp::now(), fields))?;
        }
        Ok(())
    }

    fn sentence(&self) -> String {
        let dropped = self.last.dropped();
        let mut text = format!("{dropped} dropped{}", reasons(&self.last));
        if self.last.refused_full + self.last.lost > 0 {
            text += &format!("; {}", self.advice);
        }
        text
    }

    /// The last word, on stderr, zero included; as an object of type `summary`
    /// on stdout with `--json`.
    ///
    /// # Errors
    /// Of the write.
    pub fn summary(&self, output: &mut Output) -> io::Result<()> {
        let elapsed = self.started.elapsed();
        let Health { entries, capacity, .. } = self.last;
        if output.is_json() {
            let mut fields = fields(&self.last);
            fields["elapsed_ns"] = json!(elapsed.as_nanos() as u64);
            output.json(&object("summary", Timestamp::now(), fields))?;
        }
        // Where nobody reads any more, silence is right unless there was loss.
        if self.last.dropped() > 0 || !output.is_closed() {
            let seconds = elapsed.as_secs_f64();
            eprintln!("{seconds:.1} s, entries {entries}/{capacity}, {}", self.sentence());
        }
        Ok(())
    }
}

/// Those that there are: ` (12 found the map full, 3 skipped by the kernel)`.
fn reasons(health: &Health) -> String {
    let known = health.refused_full + health.refused_no_memory + health.refused_busy;
    let all = [
        (health.refused_full, "found the map full"),
        (health.refused_no_memory, "found no memory"),
        (health.refused_busy, "found a lock held"),
        (health.refused - known, "refused"),
        (health.lost, "found the ring full"),
        (health.missed, "skipped by the kernel"),
    ];
    let some: Vec<_> =
        all.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    if some.is_empty() { String::new() } else { format!(" ({})", some.join(", ")) }
}

fn fields(health: &Health) -> Value {
    json!({
        "entries": health.entries,
        "capacity": health.capacity,
        "dropped": health.dropped(),
        "refused": health.refused,
        "refused_full": health.refused_full,
        "refused_no_memory": health.refused_no_memory,
        "refused_busy": health.refused_busy,
        "lost": health.lost,
        "missed": health.missed,
    })
}
