//! The wake-ups, explored exhaustively: every interleaving of a few programs
//! that submit by the macros of `bpf_atlas.h`, the kernel's commit and one
//! reader under `Throughput`, step by step, in time of a few ticks.
//!
//! [`Pace`] is the one that ships. The programs are the macros' lines, by their
//! names, and the kernel's `bpf_ringbuf_commit`. What a run may choose (who takes
//! the next step, whether time passes, a signal) is a list of numbers; each run
//! follows the last one to its end and there takes another turn, unless it comes
//! to where another has been. Steps take effect in one order for all: that the
//! word and the records may be seen so is the fence's and the exchange's doing,
//! argued in docs/DESIGN.md.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem::take;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Found, LOOK_EVERY, Look, Pace, WakeUp, Word, word};

const DELAY: Duration = Duration::from_millis(1);

/// Programs, by how they submit.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
enum Kind {
    /// `atlas_ring_reserve` and `atlas_ring_submit`.
    Submit,
    /// `atlas_ring_reserve` and `atlas_ring_discard`.
    Discard,
    /// `atlas_ring_output`.
    Output,
    /// `atlas_ring_output` of a record that the kernel refuses: too long, or
    /// inside another's reservation.
    OutputRefused,
    /// `bpf_ringbuf_reserve` and `bpf_ringbuf_submit` without flags.
    Plain,
}

/// The next line of a program.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
enum Line {
    Reserve,
    ReadWord,
    ReadMark,
    TakeBack,
    Commit,
    ReadConsumer,
    Wake,
    TakeBackAfter,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
enum Flags {
    None,
    NoWakeup,
    ForceWakeup,
}

#[derive(Debug)]
struct Program {
    kind: Kind,
    line: Line,
    since: u32,
    flags: Flags,
    record: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
enum State {
    Busy,
    Committed,
    Discarded,
}

#[derive(Debug, Hash)]
struct Record {
    state: State,
    read: bool,
    /// Ticks for which it could be read while the reader slept.
    slept_on: u32,
}

/// What is broken, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The reader goes to sleep for long without having looked once more.
    NoLookLater,
    /// The reader does not say that the next event is to wake it.
    NextNotSet,
    /// A program takes the word back and wakes nobody.
    TakenNotForced,
    /// A program that outputs takes the word back first.
    OutputTakesFirst,
    /// A program runs for longer than the delay.
    LongProgram,
    /// The reader does not look again when it has passed over records.
    ReleasedLate,
    /// A reader that goes sets the word once.
    GoesAtOnce,
}

/// A set of things to explore.
#[derive(Clone)]
struct Case {
    programs: Vec<Kind>,
    /// Records that the ring holds.
    room: usize,
    mark: usize,
    /// Ticks to a delay.
    ticks: u32,
    /// Reads one record a wait, and never finds the ring empty by reading.
    one_a_wait: bool,
    /// Passes over what is there instead, once.
    skips: bool,
    /// Is dropped at some time.
    quits: bool,
    /// Signals, or waits that end early.
    signals: u32,
    /// Ticks for which the reader may be kept from running.
    held_up: u32,
    fault: Fault,
}

impl Case {
    fn of(programs: &[Kind]) -> Self {
        Self {
            programs: programs.to_vec(),
            room: 8,
            mark: 2,
            ticks: 2,
            one_a_wait: false,
            skips: false,
            quits: false,
            signals: 0,
            held_up: 0,
            fault: Fault::None,
        }
    }
}

/// The choices of a run, and what the runs so far have seen.
#[derive(Default)]
struct Choices {
    path: Vec<(usize, usize)>,
    at: usize,
    seen: HashSet<u64>,
    runs: u64,
}

/// This run has come to where another has been.
#[derive(Debug)]
struct Pruned;

impl Choices {
    fn choose(&mut self, of: usize, state: impl FnOnce() -> u64) -> Result<usize, Pruned> {
        if self.at == self.path.len() {
            if !self.seen.insert(state()) {
                return Err(Pruned);
            }
            self.path.push((0, of));
        }
        self.at += 1;
        Ok(self.path[self.at - 1].0)
    }

    /// Whether there is another run.
    fn turn(&mut self) -> bool {
        (self.at, self.runs) = (0, self.runs + 1);
        while let Some((chosen, of)) = self.path.pop() {
            if chosen + 1 < of {
                self.path.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

struct World {
    case: Case,
    tick: u32,
    records: Vec<Record>,
    /// Where the reader is, and what it has given back.
    at: usize,
    released: usize,
    word: u64,
    programs: Vec<Program>,
    /// How many of the case's programs have begun.
    begun: usize,
    /// The ring is on the ready list of the reader's epoll.
    edge: bool,
    asleep: bool,
    quit: bool,
    signals: u32,
    held_up: u32,
    handled: u64,
    /// What the reader has done since its state was last written down.
    since: u64,
    /// What happened, in a run that is told.
    trace: Option<Vec<String>>,
}

#[derive(Clone, Copy)]
enum Step {
    Go,
    Begin,
    Run(usize),
    Tick,
}

impl World {
    fn new(case: &Case) -> Self {
        Self {
            case: case.clone(),
            tick: 0,
            records: Vec::new(),
            at: 0,
            released: 0,
            word: word::DEFAULT,
            programs: Vec::new(),
            begun: 0,
            edge: false,
            asleep: false,
            quit: false,
            signals: case.signals,
            held_up: case.held_up,
            handled: 0,
            since: 0,
            trace: None,
        }
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:3} {}", self.tick, what()));
        }
    }

    /// Everything that the rest of a run depends on, in times from now.
    fn state(&self, at: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.records[self.released..].hash(&mut hasher);
        for (_, program) in self.running() {
            let Program { kind, line, flags, since, record } = program;
            let record = record.map(|record| record as isize - self.at as isize);
            (kind, line, flags, self.tick - since, record).hash(&mut hasher);
        }
        let Self { word, begun, edge, asleep, signals, held_up, since, .. } = self;
        (word, begun, edge, asleep, signals, held_up, since).hash(&mut hasher);
        (self.at - self.released, self.case.skips, at).hash(&mut hasher);
        hasher.finish()
    }

    /// The record that the reader is at, past discarded ones.
    fn peek(&mut self) -> Found {
        while self.records.get(self.at).is_some_and(|record| record.state == State::Discarded) {
            self.at += 1;
        }
        match self.records.get(self.at).map(|record| record.state) {
            None => Found::Nothing,
            Some(State::Busy) => Found::Busy,
            Some(_) => Found::Record,
        }
    }

    /// Records that could be read and are not.
    fn unread(&mut self) -> impl Iterator<Item = &mut Record> {
        let rest = self.records[self.at..].iter_mut();
        rest.take_while(|record| record.state != State::Busy)
            .filter(|record| record.state == State::Committed)
    }

    fn is_woken(&self) -> bool {
        // The kernel's poll looks whether there are bytes at all.
        self.edge && self.records.len() != self.released
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Program)> {
        let all = self.programs.iter().enumerate();
        all.filter(|(_, program)| program.line != Line::End)
    }

    /// Whether all programs may still be running at the next tick.
    fn may_tick(&self) -> bool {
        let longest = match self.case.fault {
            Fault::LongProgram => self.case.ticks + 1,
            _ => self.case.ticks - 1,
        };
        self.running().all(|(_, program)| self.tick + 1 - program.since <= longest)
    }

    fn steps(&self, tick: bool) -> Vec<Step> {
        let mut steps = vec![Step::Go];
        steps.extend(self.running().map(|(at, _)| Step::Run(at)));
        if self.begun < self.case.programs.len() {
            steps.push(Step::Begin);
        }
        if tick && self.may_tick() {
            steps.push(Step::Tick);
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Go => {}
            Step::Begin => {
                let kind = self.case.programs[self.begun];
                self.begun += 1;
                let line = match kind {
                    Kind::Output | Kind::OutputRefused => Line::ReadWord,
                    _ => Line::Reserve,
                };
                let (since, flags, record) = (self.tick, Flags::None, None);
                self.programs.push(Program { kind, line, since, flags, record });
                self.run(self.programs.len() - 1);
            }
            Step::Run(program) => self.run(program),
            Step::Tick => {
                self.tick += 1;
                if self.asleep && !self.quit && !self.is_woken() {
                    let limit = self.case.ticks;
                    let mut late = false;
                    for record in self.unread() {
                        record.slept_on += 1;
                        late |= record.slept_on > limit;
                    }
                    if late {
                        self.fail("an event was slept on for longer than the delay");
                    }
                }
            }
        }
    }

    /// One line of a program.
    fn run(&mut self, at: usize) {
        let Program { kind, line, flags, record, .. } = self.programs[at];
        let fault = self.case.fault;
        let outputs = matches!(kind, Kind::Output | Kind::OutputRefused);
        let takes_first = !outputs || fault == Fault::OutputTakesFirst;
        let record_of = record.unwrap_or(0);
        let program = &mut self.programs[at];
        // Where it goes when its flags are known.
        let known = if outputs { Line::Reserve } else { Line::Commit };
        let taken = |program: &mut Program| {
            program.flags = Flags::ForceWakeup;
            program.line = if takes_first { Line::TakeBack } else { known };
        };
        match line {
            Line::Reserve => {
                let full = self.records.len() - self.released >= self.case.room;
                if full || kind == Kind::OutputRefused {
                    program.line = Line::End;
                } else {
                    program.record = Some(self.records.len());
                    self.records.push(Record { state: State::Busy, read: false, slept_on: 0 });
                    let submits = kind == Kind::Submit;
                    program.line = if submits { Line::ReadWord } else { Line::Commit };
                }
            }
            Line::ReadWord => match self.word {
                word::DEFAULT => program.line = known,
                word::NEXT => taken(program),
                word::MARK => program.line = Line::ReadMark,
                _ => (program.flags, program.line) = (Flags::NoWakeup, known),
            },
            Line::ReadMark => {
                if self.records.len() - self.released < self.case.mark {
                    (program.flags, program.line) = (Flags::NoWakeup, known);
                } else {
                    taken(program);
                }
            }
            Line::TakeBack => {
                self.word = word::NOT;
                if fault == Fault::TakenNotForced {
                    program.flags = Flags::NoWakeup;
                }
                program.line = known;
            }
            Line::Commit => {
                let discard = kind == Kind::Discard;
                let state = if discard { State::Discarded } else { State::Committed };
                self.records[record_of].state = state;
                program.line = Line::ReadConsumer;
            }
            Line::ReadConsumer => {
                let wakes = match flags {
                    Flags::ForceWakeup => true,
                    Flags::NoWakeup => false,
                    Flags::None => self.released == record_of,
                };
                let take = outputs && !takes_first && flags == Flags::ForceWakeup;
                program.line = match (wakes, take) {
                    (true, _) => Line::Wake,
                    (false, true) => Line::TakeBackAfter,
                    (false, false) => Line::End,
                };
            }
            Line::Wake => {
                self.edge = true;
                let take = outputs && !takes_first && flags == Flags::ForceWakeup;
                program.line = if take { Line::TakeBackAfter } else { Line::End };
            }
            Line::TakeBackAfter => {
                self.word = word::NOT;
                program.line = Line::End;
            }
            Line::End => unreachable!(),
        }
        let Program { flags, .. } = self.programs[at];
        let (word, kind) = (self.word, kind);
        self.say(|| format!("program {at} {kind:?}: {line:?} -> {flags:?}, word {word}"));
    }

    fn fail(&self, what: &str) -> ! {
        let trace = self.trace.as_ref().map(|trace| trace.join("\n"));
        panic!("{what}\n{}", trace.unwrap_or_default());
    }
}

/// The world, and what is chosen in it.
#[derive(Clone)]
struct Scene {
    world: Rc<RefCell<World>>,
    choices: Rc<RefCell<Choices>>,
}

impl Scene {
    /// The reader is about to take a step: others may come first.
    fn others(&self) -> Result<(), Pruned> {
        loop {
            let mut world = self.world.borrow_mut();
            let tick = world.held_up > 0;
            let steps = world.steps(tick);
            let step = self.choices.borrow_mut().choose(steps.len(), || world.state(0))?;
            match steps[step] {
                Step::Go => {
                    // Another place from here on, though nothing else may have changed.
                    world.since = world.since.wrapping_mul(31).wrapping_add(1);
                    return Ok(());
                }
                Step::Tick => {
                    world.held_up -= 1;
                    world.say(|| "the reader is held up".into());
                    world.take(Step::Tick);
                }
                step => world.take(step),
            }
        }
    }

    /// The reader knows something more.
    fn note(&self, what: impl Hash + std::fmt::Debug) {
        let mut world = self.world.borrow_mut();
        let mut hasher = DefaultHasher::new();
        (world.since, &what).hash(&mut hasher);
        world.since = hasher.finish();
        world.say(|| format!("reader: {what:?}"));
    }
}

/// The reader's word.
struct Shown {
    scene: Scene,
    pruned: Rc<Cell<bool>>,
}

impl Shown {
    fn others(&self) {
        if !self.pruned.get() {
            self.pruned.set(self.scene.others().is_err());
        }
    }
}

impl Word for Shown {
    fn get(&self) -> u64 {
        self.others();
        let world = self.scene.world.borrow();
        let word = if world.case.fault == Fault::NextNotSet { word::NEXT } else { world.word };
        drop(world);
        self.scene.note(("sees word", word));
        word
    }

    fn set(&self, word: u64) {
        self.others();
        self.scene.world.borrow_mut().word = word;
        self.scene.note(("sets word", word));
    }
}

/// A reader, as `RingBuf` is one.
struct Sleeper {
    scene: Scene,
    pruned: Rc<Cell<bool>>,
    start: Instant,
    tick: Duration,
}

impl Sleeper {
    fn now(&self) -> Instant {
        self.start + self.tick * self.scene.world.borrow().tick
    }

    fn ticks(&self, time: Duration) -> u32 {
        time.as_nanos().div_ceil(self.tick.as_nanos()) as u32
    }

    /// `Reader::peek`: its look, and what it gives back when it finds nothing.
    fn peek(&self) -> Result<Found, Pruned> {
        if self.pruned.get() {
            return Err(Pruned);
        }
        self.scene.others()?;
        let found = self.scene.world.borrow_mut().peek();
        self.scene.note(("finds", found as u8));
        let world = self.scene.world.borrow();
        let moved = world.at != world.released;
        drop(world);
        if found != Found::Record && moved {
            self.release()?;
        }
        Ok(found)
    }

    /// `Reader::peek_to_sleep`.
    fn peek_to_sleep(&self) -> Result<(Found, usize), Pruned> {
        loop {
            let before = self.scene.world.borrow().released;
            let found = self.peek()?;
            let world = self.scene.world.borrow();
            if world.released == before || world.case.fault == Fault::ReleasedLate {
                return Ok((found, world.records.len() - world.at));
            }
        }
    }

    fn read(&self) {
        let mut world = self.scene.world.borrow_mut();
        let at = world.at;
        world.records[at].read = true;
        world.at += 1;
        world.handled += 1;
    }

    fn release(&self) -> Result<(), Pruned> {
        self.scene.others()?;
        let mut world = self.scene.world.borrow_mut();
        world.released = world.at;
        Ok(())
    }

    /// `RingBuf::drain`.
    fn drain(&self, pace: &mut Pace<Shown>) -> Result<(), Pruned> {
        let now = self.now();
        self.scene.others()?;
        let end = self.scene.world.borrow().records.len();
        let done = loop {
            if self.peek()? != Found::Record || self.scene.world.borrow().at >= end {
                break true;
            }
            self.read();
        };
        self.release()?;
        if done {
            let handled = self.scene.world.borrow().handled;
            pace.ran_dry(now, handled);
        }
        Ok(())
    }

    /// `RingBuf::next`, of one record.
    fn next(&self) -> Result<(), Pruned> {
        if self.peek()? == Found::Record {
            self.read();
            self.release()?;
        }
        Ok(())
    }

    /// `RingBuf::skip`.
    fn skip(&self) -> Result<(), Pruned> {
        self.scene.others()?;
        let end = self.scene.world.borrow().records.len();
        while self.scene.world.borrow().at < end && self.peek()? == Found::Record {
            self.read();
        }
        self.release()
    }

    /// The pace in times from now, as far as they matter.
    fn write_down(&self, pace: &Pace<Shown>, now: Instant, what: impl Hash + std::fmt::Debug) {
        let far = self.tick * (3 * self.scene.world.borrow().case.ticks);
        let from_now = |time: Option<Instant>| {
            let now = self.now();
            time.map(|time| match time.checked_duration_since(now) {
                Some(ahead) => (1, self.ticks(ahead)),
                None => (0, self.ticks((now - time).min(far))),
            })
        };
        let Pace { pause, gather, armed, read, .. } = pace;
        let times = [Some(now), *gather, *armed, read.0].map(from_now);
        let new = self.scene.world.borrow().handled - read.1;
        self.scene.world.borrow_mut().since = 0;
        self.scene.note((what, times, pause, new));
    }

    /// `Bed::sleep`.
    fn sleep(&self, on_edges: bool, timeout: Duration) -> Result<(), Pruned> {
        self.scene.world.borrow_mut().asleep = true;
        let mut left = self.ticks(timeout);
        let long = self.ticks(LOOK_EVERY) / 2;
        let mut idle = 0;
        while left > 0 {
            let mut world = self.scene.world.borrow_mut();
            let ticks = world.case.ticks;
            if on_edges && world.is_woken() {
                world.asleep = false;
                drop(world);
                // Between `ppoll` and `epoll_wait`.
                self.scene.others()?;
                self.scene.world.borrow_mut().edge = false;
                break;
            }
            if on_edges {
                world.edge = false;
            }
            let rests = world.running().next().is_none() && world.unread().next().is_none();
            let resting = rests && idle > ticks;
            let mut steps = world.steps(true);
            steps.remove(0);
            if world.signals > 0 {
                steps.push(Step::Go);
            }
            if steps.is_empty() {
                world.fail("nothing can happen");
            }
            let bound = if left > long { u32::MAX } else { left };
            let state =
                || world.state(&format!("sleep {on_edges} {bound} {}", idle.min(ticks + 1)));
            let step = self.scene.choices.borrow_mut().choose(steps.len(), state)?;
            match steps[step] {
                Step::Go => {
                    world.signals -= 1;
                    break;
                }
                Step::Tick if resting => {
                    // Nothing changes before a program begins.
                    world.tick += left;
                    left = 0;
                }
                Step::Tick => {
                    world.take(Step::Tick);
                    (left, idle) = (left - 1, idle + 1);
                }
                step => {
                    world.take(step);
                    idle = 0;
                }
            }
        }
        self.scene.world.borrow_mut().asleep = false;
        self.scene.note("wakes up");
        Ok(())
    }

    /// `RingBuf::wait`, and what its caller does, until all is over.
    fn run(&self) -> Result<(), Pruned> {
        let Case { fault, mark, one_a_wait, .. } = self.scene.world.borrow().case;
        let mut pace = Pace::new(4 * mark);
        let shown = Shown { scene: self.scene.clone(), pruned: self.pruned.clone() };
        // `set_wake_up`.
        shown.set(word::NOT);
        (pace.policy, pace.words) = (WakeUp::Throughput, Some(shown));
        while !self.is_over() {
            if self.scene.world.borrow().case.quits && self.quits(&mut pace)? {
                return Ok(());
            }
            let now = self.now();
            self.write_down(&pace, now, "wait");
            let mut looks = 0;
            let look = if pace.is_eager() && self.peek()? == Found::Record {
                Look::Ready
            } else {
                let handled = self.scene.world.borrow().handled;
                let found = || {
                    looks += 1;
                    self.peek_to_sleep()
                };
                pace.look(now, || self.now(), handled, found)?
            };
            if self.pruned.get() {
                return Err(Pruned);
            }
            let (on_edges, until) = match look {
                Look::Ready => {
                    if take(&mut self.scene.world.borrow_mut().case.skips) {
                        self.skip()?;
                    } else if one_a_wait {
                        self.next()?;
                    } else {
                        self.drain(&mut pace)?;
                    }
                    continue;
                }
                Look::Sleep(until) => (false, until),
                Look::Doze(_) if fault == Fault::NoLookLater && looks == 2 => {
                    (true, now + LOOK_EVERY)
                }
                Look::Doze(until) => (true, until),
                Look::Pause(pause) => (false, now + pause),
            };
            let timeout = until.saturating_duration_since(now);
            self.write_down(&pace, now, (on_edges, timeout));
            self.sleep(on_edges, timeout)?;
        }
        Ok(())
    }

    /// Whether the reader is dropped here: then everything else goes on until its end.
    fn quits(&self, pace: &mut Pace<Shown>) -> Result<bool, Pruned> {
        self.write_down(pace, self.now(), "may go");
        let state = || self.scene.world.borrow().state(0);
        if self.scene.choices.borrow_mut().choose(2, state)? == 0 {
            return Ok(false);
        }
        self.scene.note("goes");
        self.scene.world.borrow_mut().quit = true;
        let words = pace.words.take().unwrap();
        words.give_up(|| {
            let at_once = self.scene.world.borrow().case.fault == Fault::GoesAtOnce;
            if !at_once && !self.pruned.get() {
                self.pruned.set(self.sleep(false, DELAY).is_err());
            }
        });
        if self.pruned.get() {
            return Err(Pruned);
        }
        // The rest of the programs.
        let all = self.scene.world.borrow().case.programs.len();
        while self.scene.world.borrow().begun < all
            || self.scene.world.borrow().running().next().is_some()
        {
            self.scene.world.borrow_mut().since = 0;
            self.sleep(false, self.tick)?;
        }
        self.scene.world.borrow_mut().records.clear();
        Ok(true)
    }

    /// All programs have ended and all their records are read.
    fn is_over(&self) -> bool {
        let mut world = self.scene.world.borrow_mut();
        world.begun == world.case.programs.len()
            && world.running().next().is_none()
            && world.peek() == Found::Nothing
            && world.unread().next().is_none()
    }
}

/// All runs of a case. A failure is run again, and told.
fn explore(case: Case) {
    let choices = Rc::new(RefCell::new(Choices::default()));
    let start = Instant::now();
    let ended = Cell::new(0);
    let run = |trace| {
        let world = Rc::new(RefCell::new(World { trace, ..World::new(&case) }));
        let scene = Scene { world, choices: choices.clone() };
        let tick = DELAY / case.ticks;
        let reader = Sleeper { scene, pruned: Rc::default(), start, tick };
        if reader.run().is_ok() {
            ended.set(ended.get() + 1);
            let world = reader.scene.world.borrow();
            let left = |record: &Record| record.state == State::Committed && !record.read;
            if world.records.iter().any(left) {
                world.fail("a record was never read");
            }
            if world.quit && world.word != word::DEFAULT {
                world.fail("the kernel's rule is not back");
            }
        }
    };
    loop {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(None))).is_err() {
            choices.borrow_mut().at = 0;
            run(Some(Vec::new()));
        }
        if !choices.borrow_mut().turn() {
            break;
        }
    }
    let choices = choices.borrow();
    let (runs, states, ended) = (choices.runs, choices.seen.len(), ended.get());
    println!("{:?}: {runs} runs, {ended} to the end, {states} states", case.programs);
    assert!(ended > 0, "it explores nothing");
}

use Kind::{Discard, Output, OutputRefused, Plain, Submit};

const KINDS: [Kind; 5] = [Submit, Output, OutputRefused, Discard, Plain];

#[test]
fn any_two_programs() {
    for (at, first) in KINDS.into_iter().enumerate() {
        for second in &KINDS[at..] {
            explore(Case::of(&[first, *second]));
        }
    }
}

#[test]
fn a_reader_that_is_held_up_and_interrupted() {
    for kind in KINDS {
        explore(Case { signals: 2, held_up: 3, ..Case::of(&[kind]) });
    }
}

#[test]
#[ignore = "two minutes"]
fn three_programs() {
    explore(Case::of(&[Output, Submit, Submit]));
    explore(Case { room: 1, ..Case::of(&[Output, Submit, Submit]) });
    explore(Case { room: 2, mark: 1, ..Case::of(&[Submit, Output, Output]) });
    explore(Case { signals: 1, held_up: 1, ..Case::of(&[Output, Submit]) });
}

#[test]
fn one_record_read_a_wait() {
    explore(Case { one_a_wait: true, signals: 1, ..Case::of(&[Submit, Output]) });
}

#[test]
fn a_reader_that_skips() {
    explore(Case { skips: true, signals: 1, ..Case::of(&[Submit, Output]) });
}

#[test]
fn a_ring_that_is_full() {
    explore(Case { room: 1, ..Case::of(&[Submit, Output]) });
    explore(Case { room: 1, mark: 1, ..Case::of(&[Output, Submit]) });
}

#[test]
fn finer_time() {
    explore(Case { ticks: 4, ..Case::of(&[Submit, Submit]) });
}

#[test]
fn the_kernels_rule_is_back_when_the_reader_goes() {
    explore(Case { quits: true, ..Case::of(&[Submit, Submit]) });
    explore(Case { quits: true, ..Case::of(&[Submit, Output]) });
}

// What must be found, or the above shows nothing.

fn faulty(fault: Fault, programs: &[Kind]) {
    explore(Case { fault, signals: 1, held_up: 1, ..Case::of(programs) });
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_the_reader_does_not_look_later() {
    faulty(Fault::NoLookLater, &[Output]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_the_reader_does_not_ask_for_the_next() {
    faulty(Fault::NextNotSet, &[Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_a_program_takes_the_word_and_wakes_nobody() {
    faulty(Fault::TakenNotForced, &[Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_an_output_takes_the_word_before_it_is_sure() {
    faulty(Fault::OutputTakesFirst, &[OutputRefused, Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_a_program_lasts_longer_than_the_delay() {
    faulty(Fault::LongProgram, &[Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_what_was_passed_over_is_given_back_after_the_last_look() {
    faulty(Fault::ReleasedLate, &[Discard, Plain]);
}

#[test]
#[should_panic(expected = "kernel's rule is not back")]
fn found_if_a_reader_goes_without_a_second_word() {
    explore(Case { quits: true, fault: Fault::GoesAtOnce, ..Case::of(&[Submit, Submit]) });
}
