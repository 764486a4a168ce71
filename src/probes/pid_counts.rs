//! [`PidCounts`]: the totals of [`PidSyscalls`](super::PidSyscalls), read where
//! they are.

use std::time::Duration;

use super::pid_syscalls::bpf;
use crate::{PerCpu, PerCpuArray, PerCpuHash, Result};

use bpf::{Seat, Tally};

/// Calls by PID: running totals that only grow while a process lives.
///
/// A process counts in a seat of the CPU it is on, and what it had counted when
/// it last gave one up is in a per-CPU hash. A read is one walk of the seats, of
/// which there are 32 a CPU, and then one of the hash: it gives at least what was
/// counted before it began, and no more than when it ended. (Where stores become
/// visible out of order, as on arm64, a process that loses its seat at that very
/// moment may be read short; the next read has it.)
#[derive(Clone, Debug)]
pub struct PidCounts {
    pub(super) tallies: PerCpuHash<u32, Tally>,
    pub(super) seats: PerCpuArray<Seat>,
}

/// Who sits where: an occupied seat, and its CPU.
type Seated = (usize, Seat);

impl PidCounts {
    /// The calls of every process. As [`PerCpuHash::sums`], but what it gives is
    /// read by the first [`next`](Iterator::next).
    pub fn sums(&self) -> impl Iterator<Item = Result<(u32, u64)>> {
        let mut all = Vec::new();
        let read = self.for_each(|pid, calls| all.push((pid, calls)));
        // What was read before an error comes before it.
        all.into_iter().map(Ok).chain(read.err().map(Err))
    }

    /// Calls `f` with every process and its calls; how many there were.
    ///
    /// # Errors
    /// As [`PerCpuHash::iter`]; `f` has seen what came before.
    pub fn for_each(&self, mut f: impl FnMut(u32, u64)) -> Result<usize> {
        let mut seated = Vec::new();
        let mut torn = Vec::new();
        self.seats.for_each(|at, seats| {
            if !seated_in(seats, &mut seated) {
                torn.push(at);
            }
        })?;
        for at in torn {
            self.look_again(at, &mut seated)?;
        }
        seated.sort_unstable_by_key(|(_, seat)| seat.tgid);
        self.tallies.for_each(|pid, tallies| {
            let from = seated.partition_point(|(_, seat)| seat.tgid < pid);
            let to = seated.partition_point(|(_, seat)| seat.tgid <= pid);
            f(pid, total(tallies, &seated[from..to]));
        })
    }

    /// The calls of one process; `None` if it made none.
    ///
    /// # Errors
    /// As [`PerCpuHash::lookup`].
    pub fn sum_of(&self, pid: u32) -> Result<Option<u64>> {
        let mut seated = Vec::new();
        self.look_again(pid % self.seats.max_entries(), &mut seated)?;
        seated.retain(|(_, seat)| seat.tgid == pid);
        Ok(self.tallies.lookup(pid)?.map(|tallies| total(&tallies, &seated)))
    }

    /// All calls of all processes.
    ///
    /// # Errors
    /// As [`PerCpuHash::iter`].
    pub fn sum(&self) -> Result<u64> {
        let mut sum = 0;
        self.for_each(|_, calls| sum += calls)?;
        Ok(sum)
    }

    /// How many processes there are. One walk.
    ///
    /// # Errors
    /// As [`PerCpuHash::iter`].
    pub fn count(&self) -> Result<usize> {
        self.tallies.count()
    }

    /// How many processes there is room for.
    pub fn max_entries(&self) -> u32 {
        self.tallies.max_entries()
    }

    /// Reads one seat of every CPU until each was read of one process. A seat is
    /// taken in nanoseconds, and at most at every switch between processes.
    fn look_again(&self, at: u32, seated: &mut Vec<Seated>) -> Result<()> {
        let mut seen = PerCpu::from(Vec::new());
        for tries in 0_u32.. {
            // The program may have been interrupted, or be waiting for this very CPU.
            if tries > 10 {
                std::thread::sleep(Duration::from_micros(50));
            }
            let seats = self.seats.lookup(at)?;
            if seen.is_empty() {
                seen = seats.iter().map(|_| false).collect();
            }
            for ((cpu, seat), seen) in seats.iter().enumerate().zip(seen.iter_mut()) {
                if !*seen && seat.taken == seat.taking {
                    *seen = true;
                    seated.push((cpu, *seat));
                }
            }
            if seen.iter().all(|seen| *seen) {
                break;
            }
        }
        Ok(())
    }
}

/// Adds the occupied seats to `seated`; nothing and false if one changed hands
/// while it was read.
fn seated_in(seats: &PerCpu<Seat>, seated: &mut Vec<Seated>) -> bool {
    if seats.iter().any(|seat| seat.taken != seat.taking) {
        return false;
    }
    let occupied = seats.iter().copied().enumerate().filter(|(_, seat)| seat.taken > 0);
    seated.extend(occupied);
    true
}

/// The calls of a process on all CPUs: of what finished processes with its PID
/// left behind, each began before it did. A seat that was taken before the
/// process was forgotten has no tally on its CPU.
fn total(tallies: &PerCpu<Tally>, seated: &[Seated]) -> u64 {
    let start = tallies.iter().map(|tally| tally.start_ns).max().unwrap_or(0);
    let here = |tally: &Tally| tally.start_ns == start && start > 0;
    let here = tallies.iter().enumerate().filter(|(_, tally)| here(tally));
    let calls = here.map(|(cpu, tally)| {
        let seats = seated.iter().filter(|(at, seat)| *at == cpu && seat.start_ns == start);
        seats.map(|(_, seat)| seat.calls).fold(tally.calls, u64::max)
    });
    calls.sum()
}

impl crate::rates::sealed::Totals for PidCounts {
    type Key = u32;
    type Total = u64;

    fn totals(&self, f: &mut dyn FnMut(u32, u64)) -> Result<usize> {
        self.for_each(f)
    }
}
