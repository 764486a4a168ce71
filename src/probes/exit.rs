//! [`Exit`]: the end of a process, and [`ProcessEvent`]: that or an exec.

use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use super::Exec;
use super::clock::BootClock;
use super::exec_events::ExitEvent;

/// What [`ExecEvents::drain_events`] hands out.
///
/// [`ExecEvents::drain_events`]: super::ExecEvents::drain_events
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ProcessEvent<'a> {
    /// A program was started, or could not be.
    Exec(Exec<'a>),
    /// A process has ended.
    Exit(Exit<'a>),
}

impl ProcessEvent<'_> {
    /// The process (thread group), as the initial PID namespace numbers it.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Exec(exec) => exec.pid,
            Self::Exit(exit) => exit.pid,
        }
    }

    /// When it happened.
    pub fn time(&self) -> SystemTime {
        match self {
            Self::Exec(exec) => exec.time(),
            Self::Exit(exit) => exit.time(),
        }
    }
}

/// The end of a process, in the ring's own memory. Dereferences to [`ExitEvent`].
///
/// The name (`comm`) is one that the process chose: not to be printed on a
/// terminal as it is.
#[derive(Clone, Copy, Debug)]
pub struct Exit<'a> {
    pub(super) event: &'a ExitEvent,
    pub(super) clock: BootClock,
}

impl Deref for Exit<'_> {
    type Target = ExitEvent;

    fn deref(&self) -> &ExitEvent {
        self.event
    }
}

impl Exit<'_> {
    /// When it ended.
    pub fn time(&self) -> SystemTime {
        self.clock.at(self.time_ns)
    }

    /// When it was forked: what came before its last exec counts.
    pub fn started(&self) -> SystemTime {
        self.clock.at(self.start_ns)
    }

    /// How long it lived, from its fork, time in suspend included.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.time_ns.saturating_sub(self.start_ns))
    }

    /// How it ended, as its parent is told by `wait`.
    pub fn exit_status(&self) -> ExitStatus {
        ExitStatus::from_raw(self.status as i32)
    }

    /// What it exited with; `None` if a signal killed it.
    pub fn code(&self) -> Option<u8> {
        (self.status & 0x7f == 0).then_some((self.status >> 8) as u8)
    }

    /// The signal that killed it.
    pub fn signal(&self) -> Option<i32> {
        self.exit_status().signal()
    }

    /// Whether a core was dumped.
    pub fn core_dumped(&self) -> bool {
        self.exit_status().core_dumped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_split_as_wait_does() {
        let clock = BootClock::now().unwrap();
        for (status, code, signal, core) in [
            (0, Some(0), None, false),
            (0x0100, Some(1), None, false),
            (0xff00, Some(255), None, false),
            (0x0009, None, Some(9), false),
            (0x008b, None, Some(11), true),
        ] {
            let event = ExitEvent { status, ..Default::default() };
            let exit = Exit { event: &event, clock };
            assert_eq!((exit.code(), exit.signal(), exit.core_dumped()), (code, signal, core));
            assert_eq!(exit.exit_status().code(), code.map(i32::from));
        }
    }

    #[test]
    fn a_clock_that_went_backwards_is_no_panic() {
        let clock = BootClock::now().unwrap();
        let event = ExitEvent { time_ns: 5, start_ns: 6, ..Default::default() };
        let exit = Exit { event: &event, clock };
        assert_eq!(exit.duration(), Duration::ZERO);
        let event = ProcessEvent::Exit(exit);
        assert_eq!((event.pid(), event.time()), (0, exit.time()));
    }
}
