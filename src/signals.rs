//! Signals that wait.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

/// While this lives, signals to this thread wait, but for those that end a process or tell of a
/// fault.
///
/// The verifier gives up with `EAGAIN` when one is due, and libbpf begins anew five times: too
/// few beside a profiler's timer, if a program takes longer to verify than the timer to tick.
pub(crate) struct Held(Option<SigSet>);

const NOT: [Signal; 11] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGABRT,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
];

impl Held {
    pub(crate) fn new() -> Self {
        let mut which = SigSet::all();
        NOT.into_iter().for_each(|signal| which.remove(signal));
        let mut before = SigSet::empty();
        let held = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&which), Some(&mut before));
        Self(held.ok().map(|()| before))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // It cannot fail for a mask that was in force.
            let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
        }
    }
}
