//! Variants in turns, and what came out.

use std::time::Instant;

use super::support::{Error, median, shuffled};

/// One way to do something; what it gives is checked.
pub struct Case<'a> {
    pub name: &'static str,
    /// Two system calls an entry: measured in fewer rounds where there are many entries.
    pub is_slow: bool,
    pub run: Box<dyn FnMut() -> Result<u64, Error> + 'a>,
}

impl<'a> Case<'a> {
    pub fn new(name: &'static str, run: impl FnMut() -> Result<u64, Error> + 'a) -> Self {
        Self { name, is_slow: false, run: Box::new(run) }
    }

    pub fn slow(name: &'static str, run: impl FnMut() -> Result<u64, Error> + 'a) -> Self {
        Self { is_slow: true, ..Self::new(name, run) }
    }
}

/// What cases are compared in, and of what.
pub struct Task<'a> {
    /// The title of its table.
    pub table: &'static str,
    pub what: &'a str,
    /// What the time of a run is divided by.
    pub divisor: u32,
    /// So many runs make a turn, that it takes long enough to be measured.
    pub runs: u32,
    /// Instead: so many runs of what is not slow, after one that is not measured. For maps as
    /// large as the caches, where otherwise the caches that the one before left are measured.
    pub settled: Option<u32>,
    /// What each run gives.
    pub expected: u64,
}

/// A line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    pub table: &'static str,
    pub what: String,
    pub entries: u32,
    pub name: &'static str,
    pub median: f64,
    pub least: f64,
    /// To the first case, in the same round.
    pub ratio: f64,
}

pub struct Report {
    pub rounds: usize,
    pub rows: Vec<Row>,
    pub is_right: bool,
}

/// Rounds in which slow cases take part, where there are many entries.
const FEW: usize = 3;
pub const MANY_ENTRIES: u32 = 500_000;

impl Report {
    pub fn new(rounds: usize) -> Self {
        Self { rounds, rows: Vec::new(), is_right: true }
    }

    pub fn measure(&mut self, task: &Task<'_>, cases: &mut [Case<'_>]) -> Result<(), Error> {
        self.measure_prepared(task, || Ok(()), cases)
    }

    /// With something before each turn that is not measured.
    pub fn measure_prepared(
        &mut self,
        task: &Task<'_>,
        mut prepare: impl FnMut() -> Result<(), Error>,
        cases: &mut [Case<'_>],
    ) -> Result<(), Error> {
        let mut times = vec![Vec::new(); cases.len()];
        // The first round warms up.
        for round in 0..=self.rounds {
            for turn in shuffled(cases.len(), round) {
                let case = &mut cases[turn];
                if case.is_slow && task.divisor >= MANY_ENTRIES && round > FEW {
                    continue;
                }
                let (runs, is_settled) = match task.settled {
                    Some(_) if case.is_slow => (1, false),
                    Some(runs) => (runs, true),
                    None => (task.runs, false),
                };
                prepare()?;
                if is_settled {
                    (case.run)()?;
                }
                let start = Instant::now();
                let mut given = 0;
                for _ in 0..runs {
                    given = (case.run)()?;
                }
                let time = start.elapsed().as_nanos() as f64;
                if given != task.expected {
                    let (name, expected) = (case.name, task.expected);
                    println!("WRONG: {name}, {}: {given}, not {expected}", task.what);
                    self.is_right = false;
                }
                if round > 0 {
                    times[turn].push(time / f64::from(task.divisor) / f64::from(runs));
                }
            }
        }
        let first = self.rows.len();
        for (case, of_case) in cases.iter().zip(&times) {
            self.rows.push(Row {
                table: task.table,
                what: task.what.into(),
                entries: task.divisor,
                name: case.name,
                median: median(of_case.iter().copied()),
                least: of_case.iter().copied().fold(f64::INFINITY, f64::min),
                ratio: median(of_case.iter().zip(&times[0]).map(|(time, first)| time / first)),
            });
        }
        let new_table = first == 0 || self.rows[first - 1].table != task.table;
        print!("{}", markdown(&self.rows[first..], new_table));
        Ok(())
    }
}

/// Rows as a table, with its title where it is a new one.
pub fn markdown(rows: &[Row], with_head: bool) -> String {
    let mut text = String::new();
    let mut table = if with_head { None } else { rows.first().map(|row| row.table) };
    for row in rows {
        if table != Some(row.table) {
            table = Some(row.table);
            text += &format!("\n## {}\n\n| what | by | median | least | ratio |\n", row.table);
            text += "|---|---|---|---|---|\n";
        }
        text += &format!(
            "| {} | {} | {} | {} | {:.2} |\n",
            row.what,
            row.name,
            figure(row.median),
            figure(row.least),
            row.ratio
        );
    }
    text
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub fn json(machine: &str, rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            format!(
                "    {{\"table\": {:?}, \"what\": {:?}, \"entries\": {}, \"by\": {:?}, \
                 \"median_ns\": {:.3}, \"least_ns\": {:.3}, \"ratio\": {:.4}}}",
                row.table, row.what, row.entries, row.name, row.median, row.least, row.ratio
            )
        })
        .collect();
    format!("{{\n  \"machine\": {machine:?},\n  \"rows\": [\n{}\n  ]\n}}\n", rows.join(",\n"))
}
