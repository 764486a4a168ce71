//! A ring that is read while events come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, hint, thread};

use bpf_atlas::Pod;
use nix::time::{ClockId, clock_gettime};

use super::kernel::{Maps, Programs, Run, Runner, pin_to};
use super::peers::{self, BASE};
use super::{Error, median, turns};

/// How long a reader waits before it sees whether the course is over.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// `BPF_RB_NO_WAKEUP`.
pub const NO_WAKEUP: u64 = 1;
/// Submission, when and by which number, and a check.
pub type Event = [u64; 3];

/// The same by names, as this crate compares them with those of the C.
#[derive(Clone, Copy, Pod)]
#[repr(C)]
pub struct Named {
    pub ns: u64,
    pub seq: u64,
    pub check: u64,
}

impl Named {
    #[inline(always)]
    pub fn words(&self) -> Event {
        [self.ns, self.seq, self.check]
    }
}

/// What a reader does with an event. No allocation, no panic: C could do the same.
pub struct Sink {
    count: u64,
    sum: u64,
    /// ns from the program to here, of one event of 16.
    late: Box<[u32; 1 << 16]>,
    samples: usize,
}

impl Default for Sink {
    fn default() -> Self {
        Self { count: 0, sum: 0, late: Box::new([0; 1 << 16]), samples: 0 }
    }
}

impl Sink {
    #[inline(always)]
    pub fn take(&mut self, &[ns, seq, check]: &Event) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(check);
        // Which ones has nothing to do with their place in a burst.
        if (seq.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 60) == 0 {
            self.sample(ns);
        }
    }

    fn sample(&mut self, ns: u64) {
        let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return };
        let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
        if let Some(late) = self.late.get_mut(self.samples) {
            *late = now.saturating_sub(ns) as u32;
            self.samples += 1;
        }
    }
}

/// What one reader saw of one course, and what it spent.
#[derive(Default)]
pub struct Seen {
    count: u64,
    sum: u64,
    cpu: Duration,
    sleeps: u64,
    /// How long it was ready to run while others did.
    kept_off: Duration,
    /// Microseconds: the middle one, and the one that 99 of 100 do not exceed.
    late: [f64; 2],
}

impl Seen {
    pub fn with(self, mut sink: Sink) -> Result<Self, Error> {
        let late = &mut sink.late[..sink.samples];
        late.sort_unstable();
        let at = |share: usize| {
            let ns = late.get(late.len() * share / 100).copied();
            ns.map_or(f64::NAN, |ns| f64::from(ns) / 1000.0)
        };
        Ok(Self { count: sink.count, sum: sink.sum, late: [at(50), at(99)], ..self })
    }
}

/// What a reader and a producer share.
pub struct Course {
    reader_cpu: usize,
    ready: AtomicBool,
    over: AtomicBool,
}

impl Course {
    /// Runs a reader that is open until the course is over, and says what it spent.
    pub fn measure(
        &self,
        read: impl FnOnce(&AtomicBool) -> Result<(), Error>,
    ) -> Result<Seen, Error> {
        pin_to(self.reader_cpu)?;
        let (sleeps_before, kept_off_before, before) = (sleeps()?, kept_off()?, cpu_time()?);
        self.ready.store(true, Ordering::Release);
        read(&self.over)?;
        let (cpu, sleeps) = (cpu_time()? - before, sleeps()? - sleeps_before);
        let kept_off = kept_off()? - kept_off_before;
        Ok(Seen { cpu, sleeps, kept_off, ..Seen::default() })
    }
}

/// The time that this thread has spent on a CPU.
fn cpu_time() -> Result<Duration, Error> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?))
}

/// How often this thread has gone to sleep.
fn sleeps() -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(count.ok_or("no count of context switches")?.trim().parse()?)
}

/// How long this thread has waited for its CPU.
fn kept_off() -> Result<Duration, Error> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns = stat.split(' ').nth(1).ok_or("no time that was waited for a CPU")?;
    Ok(Duration::from_nanos(ns.parse()?))
}

/// One way to read what comes.
pub struct Live {
    pub name: &'static str,
    /// The program that produces for it, and what that submits with.
    pub program: &'static str,
    pub flags: u64,
    pub read: fn(&Maps, &Course) -> Result<Seen, Error>,
}

/// How events come.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    /// How many at once, and how long from one time to the next.
    burst: u64,
    every: Duration,
}

const LOADS: [Load; 3] = [
    Load { name: "200,000 a second, one by one", burst: 1, every: Duration::from_micros(5) },
    Load { name: "one by one, at full rate", burst: 1, every: Duration::ZERO },
    Load { name: "200,000 a second, 64 at once", burst: 64, every: Duration::from_micros(320) },
];

/// What a producer did.
#[derive(Default)]
struct Produced {
    submitted: u64,
    lost: u64,
    sum: u64,
    ns: u64,
}

fn produce(
    load: Load,
    program: &Runner<'_>,
    flags: u64,
    time: Duration,
) -> Result<Produced, Error> {
    let mut made = Produced::default();
    let mut first = 0;
    let start = Instant::now();
    let mut next = start;
    loop {
        let mut now = Instant::now();
        while now < next {
            hint::spin_loop();
            now = Instant::now();
        }
        if now - start >= time {
            return Ok(made);
        }
        // What was missed is not made up for: that would be another load.
        next = (next + load.every).max(now);
        let mut run = Run { first, count: load.burst, flags, ..Run::default() };
        program.run(&mut run)?;
        first += load.burst;
        made.submitted += load.burst - run.lost;
        made.lost += run.lost;
        made.sum = made.sum.wrapping_add(run.sum);
        made.ns += run.ns;
    }
}

/// One reader at one load, once.
fn course(
    programs: &Programs,
    cpus: &[usize],
    load: Load,
    live: &Live,
    time: Duration,
) -> Result<(Seen, Produced), Error> {
    let program = programs.runner(live.program)?;
    let course =
        Course { reader_cpu: cpus[0], ready: AtomicBool::new(false), over: AtomicBool::new(false) };
    thread::scope(|scope| {
        let reader = scope.spawn(|| (live.read)(&programs.maps, &course));
        while !course.ready.load(Ordering::Acquire) && !reader.is_finished() {
            thread::sleep(Duration::from_micros(100));
        }
        // So that it sleeps when the first event comes.
        thread::sleep(Duration::from_millis(1));
        let made = produce(load, &program, live.flags, time);
        course.over.store(true, Ordering::Release);
        let seen = reader.join().map_err(|_| "a reader panicked")??;
        Ok((seen, made?))
    })
}

/// What came out of one reader's turn at one load.
struct Turn {
    cpu: f64,
    sleeps: f64,
    late: [f64; 2],
    program: f64,
}

pub fn run(cpus: &[usize], others: Vec<Live>, rounds: usize, ms: u64) -> Result<bool, Error> {
    if cpus.len() < 2 {
        println!("\nskipped: live: the producer and the reader need a CPU each");
        return Ok(true);
    }
    let programs = Programs::load(1 << 16)?;
    pin_to(cpus[1])?;
    let mut readers = peers::live();
    readers.extend(others);
    let base = readers.iter().position(|reader| reader.name == BASE).ok_or("no base")?;
    println!(
        "\nEvents of 24 bytes come for {ms} ms a turn, into a ring of 4 MiB. The reader's CPU time, \
         ns an event, and its ratio to {BASE}; how often it went to sleep, for 1,000 events; from \
         the program to the reader, µs; the program's time, ns an event, and its ratio to that of \
         {BASE}.\n"
    );
    println!(
        "| events come | reader | CPU | ratio | sleeps | median µs | 99th | program | ratio | \
         lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut right = true;
    let mut kept_off = Duration::ZERO;
    for load in LOADS {
        let mut turns_of: Vec<Vec<Turn>> = readers.iter().map(|_| Vec::new()).collect();
        let mut totals = vec![(0, 0); readers.len()];
        for round in 0..=rounds {
            for turn in turns(readers.len(), round) {
                let reader = &readers[turn];
                let time = Duration::from_millis(ms);
                let (seen, made) = course(&programs, cpus, load, reader, time)?;
                if (seen.count, seen.sum) != (made.submitted, made.sum) {
                    println!("WRONG: {}: {} of {}", reader.name, seen.count, made.submitted);
                    right = false;
                }
                // The first round warms up.
                if round == 0 {
                    continue;
                }
                kept_off = kept_off.max(seen.kept_off);
                let events = made.submitted as f64;
                turns_of[turn].push(Turn {
                    cpu: seen.cpu.as_nanos() as f64 / events,
                    sleeps: seen.sleeps as f64 * 1000.0 / events,
                    late: seen.late,
                    program: made.ns as f64 / (events + made.lost as f64),
                });
                totals[turn].0 += made.submitted;
                totals[turn].1 += made.lost;
            }
        }
        for ((reader, turns), (submitted, lost)) in readers.iter().zip(&turns_of).zip(totals) {
            let of = |what: fn(&Turn) -> f64| median(turns.iter().map(what));
            let ratio = |what: fn(&Turn) -> f64| {
                median(turns.iter().zip(&turns_of[base]).map(|(a, b)| what(a) / what(b)))
            };
            println!(
                "| {} | {} | {:.0} | {:.2} | {:.1} | {:.0} | {:.0} | {:.0} | {:.2} | {lost} of {} |",
                load.name,
                reader.name,
                of(|turn| turn.cpu),
                ratio(|turn| turn.cpu),
                of(|turn| turn.sleeps),
                of(|turn| turn.late[0]),
                of(|turn| turn.late[1]),
                of(|turn| turn.program),
                ratio(|turn| turn.program),
                submitted + lost
            );
        }
    }
    println!(
        "\nOthers kept a reader off its CPU for {} ms of a turn at most.",
        kept_off.as_millis()
    );
    Ok(right)
}
