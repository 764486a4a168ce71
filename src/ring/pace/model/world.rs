//! The programs, the kernel and the ring, and what a run chooses.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::super::{Found, word};

/// Programs, by how they submit.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub(super) enum Kind {
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
pub(super) enum Line {
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
pub(super) enum Flags {
    None,
    NoWakeup,
    ForceWakeup,
}

#[derive(Debug)]
pub(super) struct Program {
    pub(super) kind: Kind,
    pub(super) line: Line,
    pub(super) since: u32,
    pub(super) flags: Flags,
    pub(super) record: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub(super) enum State {
    Busy,
    Committed,
    Discarded,
}

#[derive(Debug, Hash)]
pub(super) struct Record {
    pub(super) state: State,
    pub(super) read: bool,
    /// Ticks for which it could be read while the reader slept.
    pub(super) slept_on: u32,
}

/// What is broken, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
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
pub(super) struct Case {
    pub(super) programs: Vec<Kind>,
    /// Records that the ring holds.
    pub(super) room: usize,
    pub(super) mark: usize,
    /// Ticks to a delay.
    pub(super) ticks: u32,
    /// Reads one record a wait, and never finds the ring empty by reading.
    pub(super) one_a_wait: bool,
    /// Passes over what is there instead, once.
    pub(super) skips: bool,
    /// Is dropped at some time.
    pub(super) quits: bool,
    /// Signals, or waits that end early.
    pub(super) signals: u32,
    /// Ticks for which the reader may be kept from running.
    pub(super) held_up: u32,
    pub(super) fault: Fault,
}

impl Case {
    pub(super) fn of(programs: &[Kind]) -> Self {
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
pub(super) struct Choices {
    pub(super) path: Vec<(usize, usize)>,
    pub(super) at: usize,
    pub(super) seen: HashSet<u64>,
    pub(super) runs: u64,
}

/// This run has come to where another has been.
#[derive(Debug)]
pub(super) struct Pruned;

impl Choices {
    pub(super) fn choose(
        &mut self,
        of: usize,
        state: impl FnOnce() -> u64,
    ) -> Result<usize, Pruned> {
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
    pub(super) fn turn(&mut self) -> bool {
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

pub(super) struct World {
    pub(super) case: Case,
    pub(super) tick: u32,
    pub(super) records: Vec<Record>,
    /// Where the reader is, and what it has given back.
    pub(super) at: usize,
    pub(super) released: usize,
    pub(super) word: u64,
    pub(super) programs: Vec<Program>,
    /// How many of the case's programs have begun.
    pub(super) begun: usize,
    /// The ring is on the ready list of the reader's epoll.
    pub(super) edge: bool,
    pub(super) asleep: bool,
    pub(super) quit: bool,
    pub(super) signals: u32,
    pub(super) held_up: u32,
    pub(super) handled: u64,
    /// What the reader has done since its state was last written down.
    pub(super) since: u64,
    /// What happened, in a run that is told.
    pub(super) trace: Option<Vec<String>>,
}

#[derive(Clone, Copy)]
pub(super) enum Step {
    Go,
    Begin,
    Run(usize),
    Tick,
}

impl World {
    pub(super) fn new(case: &Case) -> Self {
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

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:3} {}", self.tick, what()));
        }
    }

    /// Everything that the rest of a run depends on, in times from now.
    pub(super) fn state(&self, at: impl Hash) -> u64 {
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
    pub(super) fn peek(&mut self) -> Found {
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
    pub(super) fn unread(&mut self) -> impl Iterator<Item = &mut Record> {
        let rest = self.records[self.at..].iter_mut();
        rest.take_while(|record| record.state != State::Busy)
            .filter(|record| record.state == State::Committed)
    }

    pub(super) fn is_woken(&self) -> bool {
        // The kernel's poll looks whether there are bytes at all.
        self.edge && self.records.len() != self.released
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (usize, &Program)> {
        let all = self.programs.iter().enumerate();
        all.filter(|(_, program)| program.line != Line::End)
    }

    /// Whether all programs may still be running at the next tick.
    pub(super) fn may_tick(&self) -> bool {
        let longest = match self.case.fault {
            Fault::LongProgram => self.case.ticks + 1,
            _ => self.case.ticks - 1,
        };
        self.running().all(|(_, program)| self.tick + 1 - program.since <= longest)
    }

    pub(super) fn steps(&self, tick: bool) -> Vec<Step> {
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

    pub(super) fn take(&mut self, step: Step) {
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
    pub(super) fn run(&mut self, at: usize) {
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

    pub(super) fn fail(&self, what: &str) -> ! {
        let trace = self.trace.as_ref().map(|trace| trace.join("\n"));
        panic!("{what}\n{}", trace.unwrap_or_default());
    }
}
