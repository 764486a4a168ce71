//! [`RingTotals`] and [`RingStats`], and how a ring gives them.

use super::{Event, RingBuf};
use crate::error::{Error, Op, Result};
use crate::{Accumulate, Pod};

/// The totals beside a ring that `ATLAS_RING` of `bpf_atlas.h` declares: one
/// element a CPU, growing only, never reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Accumulate)]
#[repr(C)]
pub struct RingTotals {
    /// Records handed over, those still unread among them.
    pub submitted: u64,
    /// Records that the ring refused.
    pub lost: u64,
    /// Of these, the ones that were refused although there was room: the
    /// program had interrupted another one inside a reservation. Told by a look right
    /// after, so a reader that makes room just then makes a full ring look busy.
    pub busy: u64,
}

impl RingTotals {
    /// Everything that programs had to say: submitted or lost.
    pub fn produced(&self) -> u64 {
        self.submitted + self.lost
    }

    /// Records that found the ring full.
    pub fn full(&self) -> u64 {
        self.lost - self.busy
    }
}

/// Where the records of a ring have gone, by [`RingBuf::stats`].
///
/// Once producers rest and everything has been read, by one reader from the
/// start, `accounted() == produced()`: nothing is missing. At any other moment
/// the difference is on its way.
///
/// [`RingBuf::stats`]: super::RingBuf::stats
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingStats {
    /// Records that programs submitted, on all CPUs.
    pub submitted: u64,
    /// Records that this reader handed out.
    pub delivered: u64,
    /// Lost in the kernel: the ring was full.
    pub lost_full: u64,
    /// Lost in the kernel although there was room: a program that interrupted
    /// another one inside a reservation is refused. See [`RingTotals::busy`].
    pub lost_busy: u64,
    /// Passed over by this reader: of the wrong size, or of no known kind. Each
    /// was an error when it came.
    pub refused: u64,
    /// Passed over by this reader because it was told to
    /// ([`skip`](super::RingBuf::skip)).
    pub skipped: u64,
    /// Bytes in the ring that are not read yet, headers included.
    pub waiting: usize,
    /// The size of the ring in bytes.
    pub capacity: usize,
    /// The most bytes that this reader ever found waiting, now included. A ring that lost
    /// records was full in between, whatever was found.
    pub high_water: usize,
}

impl RingStats {
    /// All that the kernel lost.
    pub fn lost(&self) -> u64 {
        self.lost_full + self.lost_busy
    }

    /// Everything that programs had to say: submitted or lost.
    pub fn produced(&self) -> u64 {
        self.submitted + self.lost()
    }

    /// Records of which this reader knows what became of them.
    pub fn accounted(&self) -> u64 {
        self.delivered + self.lost() + self.refused + self.skipped
    }

    /// What has been counted since `earlier`, of the same reader; what is there now as it
    /// is now. See [`RingBuf::stats`](super::RingBuf::stats).
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            submitted: self.submitted.saturating_sub(earlier.submitted),
            delivered: self.delivered.saturating_sub(earlier.delivered),
            lost_full: self.lost_full.saturating_sub(earlier.lost_full),
            lost_busy: self.lost_busy.saturating_sub(earlier.lost_busy),
            refused: self.refused.saturating_sub(earlier.refused),
            skipped: self.skipped.saturating_sub(earlier.skipped),
            ..*self
        }
    }
}

impl<E: Event> RingBuf<E> {
    /// Records that the ring refused, on all CPUs, since the program was loaded:
    /// `delivered + lost = submitted + lost` once all is read. One
    /// `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// [`Unsupported`](Error::Unsupported) when the ring was opened without its
    /// totals ([`with_lost`](Self::with_lost)).
    pub fn lost(&self) -> Result<u64> {
        Ok(self.totals()?.lost)
    }

    /// What the programs counted beside the ring. One `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// As [`lost`](Self::lost).
    pub fn totals(&self) -> Result<RingTotals> {
        match &self.totals {
            Some(totals) => totals.sum_of(0),
            None => Err(Error::Unsupported {
                map: self.raw.name(),
                op: Op::RingTotals,
                needs: "the ring's totals: declare it by ATLAS_RING and open it with `with_lost`",
            }),
        }
    }

    /// Where the ring's records have gone. One `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// Programs have counted since they were loaded, this reader since it was opened.
    /// So one that is restarted on a pinned ring takes a first look and goes by the
    /// difference. What waits at that look is delivered behind it and was submitted
    /// before: with nothing waiting, as after [`skip`](Self::skip) while programs rest,
    /// `accounted()` and `produced()` of the difference agree again.
    ///
    /// ```no_run
    /// # fn read() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut events = bpf_atlas::RingBuf::<u64>::open_pinned("/sys/fs/bpf/events")?;
    /// let before = events.stats()?;
    /// while events.wait(None)? {
    ///     events.drain(|event| println!("{event}"))?;
    ///     println!("{} lost since the start", events.stats()?.since(&before).lost());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`lost`](Self::lost).
    pub fn stats(&self) -> Result<RingStats> {
        let totals = self.totals()?;
        Ok(RingStats {
            submitted: totals.submitted,
            delivered: self.delivered,
            lost_full: totals.full(),
            lost_busy: totals.busy,
            refused: self.refused,
            skipped: self.skipped,
            waiting: self.waiting(),
            capacity: self.capacity(),
            high_water: self.reader.high_water().max(self.waiting()),
        })
    }

    /// Records that this reader handed out.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Records that had the wrong size or an unknown tag and were passed over.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Bytes in the ring that are not read yet, headers included.
    pub fn waiting(&self) -> usize {
        self.reader.waiting()
    }

    /// The size of the ring in bytes.
    pub fn capacity(&self) -> usize {
        self.raw.max_entries() as usize
    }
}
