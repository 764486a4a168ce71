//! [`Clock`]: when to print, and when to stop.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::Common;

/// Ticks at every interval until SIGINT, SIGTERM, the end of `--duration`, the
/// first tick with `--once`, or a reader of stdout that went away.
pub struct Clock {
    signals: UnixStream,
    interval: Duration,
    duration: Option<Duration>,
    /// The next tick and the end, from the first wait on.
    times: Option<(Instant, Option<Instant>)>,
    once: bool,
    stopped: bool,
}

/// Why [`Clock::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// It is time to print.
    Tick,
    /// The descriptor that was waited for has data.
    Ready,
    /// It is time to print for the last time.
    Last,
}

impl Clock {
    /// From here on the first signal asks for the end; a second one ends at
    /// once. Time begins with the first wait.
    pub fn start(args: &Common) -> io::Result<Self> {
        let (signals, sender) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let code = 128 + signal;
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&again))?;
            signal_hook::flag::register(signal, Arc::clone(&again))?;
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self {
            signals,
            interval: args.interval,
            duration: args.duration,
            times: None,
            once: args.once,
            stopped: false,
        })
    }

    /// Sleeps until the next tick; false if it is the last one.
    pub fn tick(&mut self) -> io::Result<bool> {
        Ok(self.wait(None)? == Wake::Tick)
    }

    /// Sleeps until the next tick, or until `fd` has data. Once it has said
    /// [`Wake::Last`] it says nothing else.
    pub fn wait(&mut self, fd: Option<BorrowedFd<'_>>) -> io::Result<Wake> {
        loop {
            let now = Instant::now();
            let (next, end) = *self.times.get_or_insert_with(|| {
                let end = self.duration.and_then(|duration| now.checked_add(duration));
                (later(now, self.interval), end)
            });
            let until = end.map_or(next, |end| end.min(next));
            if self.stopped {
                return Ok(Wake::Last);
            }
            if now >= until {
                // After a pause longer than an interval there is no catching up.
                self.times = Some((later(next, self.interval).max(now), end));
                self.stopped = self.once || end.is_some_and(|end| now >= end);
                return Ok(if self.stopped { Wake::Last } else { Wake::Tick });
            }
            if self.sleep(until - now, fd)? {
                return Ok(Wake::Ready);
            }
        }
    }

    /// Whether `fd` has data; notes whether the end was asked for.
    fn sleep(&mut self, time: Duration, fd: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        let stdout = io::stdout();
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            // Asks for nothing, and is told when the reader has gone.
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        fds.extend(fd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // To the nanosecond: `poll` knows milliseconds, and would have to be late.
        match nix::poll::ppoll(&mut fds, Some(TimeSpec::from_duration(time)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let any = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let (signal, closed) = (any(&fds[0]), any(&fds[1]));
        let ready = fds.get(2).is_some_and(any);
        drop(fds);
        if signal {
            // Emptied, so that a wait for something else does not spin.
            let _ = (&self.signals).read(&mut [0; 64]);
        }
        self.stopped |= signal || closed;
        Ok(ready)
    }
}

/// A time beyond what the clock can hold is as good as never.
fn later(from: Instant, time: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from.checked_add(time).unwrap_or_else(|| from + YEAR)
}
