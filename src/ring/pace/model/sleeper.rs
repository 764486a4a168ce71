//! The reader: the shipped `Pace`, and around it what `RingBuf` does.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem::take;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::{Found, LOOK_EVERY, Look, Pace, WakeUp, Word, word};
use super::DELAY;
use super::world::{Case, Choices, Fault, Pruned, Step, World};

/// The world, and what is chosen in it.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) choices: Rc<RefCell<Choices>>,
}

impl Scene {
    /// The reader is about to take a step: others may come first.
    pub(super) fn others(&self) -> Result<(), Pruned> {
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
    pub(super) fn note(&self, what: impl Hash + std::fmt::Debug) {
        let mut world = self.world.borrow_mut();
        let mut hasher = DefaultHasher::new();
        (world.since, &what).hash(&mut hasher);
        world.since = hasher.finish();
        world.say(|| format!("reader: {what:?}"));
    }
}

/// The reader's word.
pub(super) struct Shown {
    pub(super) scene: Scene,
    pub(super) pruned: Rc<Cell<bool>>,
}

impl Shown {
    pub(super) fn others(&self) {
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
pub(super) struct Sleeper {
    pub(super) scene: Scene,
    pub(super) pruned: Rc<Cell<bool>>,
    pub(super) start: Instant,
    pub(super) tick: Duration,
}

impl Sleeper {
    pub(super) fn now(&self) -> Instant {
        self.start + self.tick * self.scene.world.borrow().tick
    }

    pub(super) fn ticks(&self, time: Duration) -> u32 {
        time.as_nanos().div_ceil(self.tick.as_nanos()) as u32
    }

    /// `Reader::peek`: its look, and what it gives back when it finds nothing.
    pub(super) fn peek(&self) -> Result<Found, Pruned> {
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
    pub(super) fn peek_to_sleep(&self) -> Result<(Found, usize), Pruned> {
        loop {
            let before = self.scene.world.borrow().released;
            let found = self.peek()?;
            let world = self.scene.world.borrow();
            if world.released == before || world.case.fault == Fault::ReleasedLate {
                return Ok((found, world.records.len() - world.at));
            }
        }
    }

    pub(super) fn read(&self) {
        let mut world = self.scene.world.borrow_mut();
        let at = world.at;
        world.records[at].read = true;
        world.at += 1;
        world.handled += 1;
    }

    pub(super) fn release(&self) -> Result<(), Pruned> {
        self.scene.others()?;
        let mut world = self.scene.world.borrow_mut();
        world.released = world.at;
        Ok(())
    }

    /// `RingBuf::drain`.
    pub(super) fn drain(&self, pace: &mut Pace<Shown>) -> Result<(), Pruned> {
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
    pub(super) fn next(&self) -> Result<(), Pruned> {
        if self.peek()? == Found::Record {
            self.read();
            self.release()?;
        }
        Ok(())
    }

    /// `RingBuf::skip`.
    pub(super) fn skip(&self) -> Result<(), Pruned> {
        self.scene.others()?;
        let end = self.scene.world.borrow().records.len();
        while self.scene.world.borrow().at < end && self.peek()? == Found::Record {
            self.read();
        }
        self.release()
    }

    /// The pace in times from now, as far as they matter.
    pub(super) fn write_down(
        &self,
        pace: &Pace<Shown>,
        now: Instant,
        what: impl Hash + std::fmt::Debug,
    ) {
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
    pub(super) fn sleep(&self, on_edges: bool, timeout: Duration) -> Result<(), Pruned> {
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
            let state = || world.state((on_edges, bound, idle.min(ticks + 1)));
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
    pub(super) fn run(&self) -> Result<(), Pruned> {
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
    pub(super) fn quits(&self, pace: &mut Pace<Shown>) -> Result<bool, Pruned> {
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
    pub(super) fn is_over(&self) -> bool {
        let mut world = self.scene.world.borrow_mut();
        world.begun == world.case.programs.len()
            && world.running().next().is_none()
            && world.peek() == Found::Nothing
            && world.unread().next().is_none()
    }
}
