//! [`Gatherer`]: a walk that the kernel makes.

mod fields;
mod load;

use std::fmt;

use crate::error::{Error, Op, Result};
use crate::rates::{Totals, sealed::Raw};
use crate::sys::gathering::Gathering;
use crate::sys::pod::Pod;
use crate::{Accumulate, Array, PerCpuArray};

mod bpf {
    include!(concat!(env!("OUT_DIR"), "/gather.rs"));
}

use bpf::GatherArgs;
#[doc(hidden)]
pub use load::GatherWay;

/// A hash with room for more than so many times its entries is walked. Measured: the two cost
/// the same at 300 of 10,240.
const SPARSE: usize = 64;

/// A key and its value, all CPUs added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct Gathered<K, V> {
    /// The key; the index of an array.
    pub key: K,
    /// The value, as `sum` would give it.
    pub value: V,
}

/// How a [`Gatherer`] works here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatherMode {
    /// A program in the kernel walks the map and adds up.
    Kernel,
    /// This process does, in batches; and why.
    Walk(String),
}

impl fmt::Display for GatherMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("in the kernel"),
            Self::Walk(why) => write!(f, "by a walk ({why})"),
        }
    }
}

/// Reads a whole map by a program in the kernel, which adds the CPUs of each value up
/// and writes key and total into memory that is mapped here. Feature `gather`.
///
/// A batch copies every CPU's value of every key out of the kernel; this copies one
/// total, and nothing that a [threshold](Self::at_least) leaves out. One system call
/// for the whole map, whatever its size; of a hash before Linux 6.2 with many possible
/// CPUs five, and one more a million entries. Loading the program costs some
/// milliseconds, once for each gatherer, and it keeps memory for
/// `max_entries` records.
///
/// A hash that had fewer entries than a 64th of its room is walked the next time: for a
/// bucket that is empty the program costs three times what a batch does.
///
/// # What it promises
/// Of arrays, what a walk does: [`new`](Self::new) takes those. Of hashes **less**:
/// the program holds no lock of a bucket, so while keys are inserted, deleted or
/// replaced it can miss a key that is there all the time, or give one twice
/// (measured: 6 of 4,244 gathers under constant replacement). Where nobody writes but
/// in place it is exact. [`sampling`](Self::sampling) takes hashes, and its name is
/// meant: for a table on a screen, not for a bill.
///
/// Values that are not per-CPU are copied as they lie: a field that is written
/// meanwhile may be torn from its neighbours, as in a lookup.
///
/// Needs Linux 5.14, for per-CPU maps 5.19, and `CAP_BPF` and `CAP_PERFMON`. Where that
/// is missing, or the values are of a type whose sums the program cannot make, it
/// walks, and [`mode`](Self::mode) says so. Since Linux 6.2, with the kernel's types
/// (`/sys/kernel/btf/vmlinux`), the other CPUs' values are read where they are; before,
/// they are looked up, or copied by the kernel: those of an LRU always, since a lookup
/// would tell it that the entry is in use.
///
/// ```no_run
/// use bpf_atlas::{Gatherer, PerCpuArray};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counts = PerCpuArray::<u64>::open_pinned("/sys/fs/bpf/by_syscall")?;
/// let mut counts = Gatherer::new(counts);
/// for slot in counts.gather()? {
///     println!("{}: {}", slot.key, slot.value);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Gatherer<M: Gatherable> {
    map: M,
    kernel: Result<(Gathering, GatherWay), String>,
    /// Whether a way was asked for.
    is_forced: bool,
    threshold: Option<fields::Threshold>,
    walked: Vec<Gathered<M::Key, M::Total>>,
    /// How many elements there were the last time, if there was one.
    visited: Option<usize>,
}

/// A map of totals that a [`Gatherer`] can read: every hash and array kind. Sealed.
pub trait Gatherable: Totals + Raw {}

impl<M: Totals + Raw> Gatherable for M {}

/// An array: its elements never move, so a gather is exact. Sealed.
pub trait Steady: Gatherable + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

impl<V: Accumulate> sealed::Sealed for Array<V> {}
impl<V: Accumulate> Steady for Array<V> {}
impl<V: Accumulate> sealed::Sealed for PerCpuArray<V> {}
impl<V: Accumulate> Steady for PerCpuArray<V> {}
impl<M: Steady> sealed::Sealed for &M {}
impl<M: Steady> Steady for &M {}

impl<M: Steady> Gatherer<M> {
    /// Of an array or a per-CPU array: exactly what its `sums` gives.
    pub fn new(map: M) -> Self {
        Self::over(map, None)
    }
}

impl<M: Gatherable> Gatherer<M> {
    /// Of any map of totals. Of a hash that changes meanwhile it is a sample: it may
    /// miss a key or repeat one.
    pub fn sampling(map: M) -> Self {
        Self::over(map, None)
    }

    /// Only records whose `field` is at least what
    /// [`gather_at_least`](Self::gather_at_least) is given: the name of an integer
    /// field of the value, `inner.field` for one of a struct inside, `""` where the
    /// value is the integer. Loads the program anew.
    ///
    /// # Errors
    /// [`InvalidArgument`](Error::InvalidArgument) for a name that is no such field.
    pub fn at_least(self, field: &str) -> Result<Self> {
        let threshold = fields::Threshold::of(&M::Total::LAYOUT, field).ok_or_else(|| {
            let what = format!(
                "`{}` has no integer field `{field}` to compare",
                std::any::type_name::<M::Total>()
            );
            Error::InvalidArgument { map: self.map.raw().name(), what }
        })?;
        let only = self.way().filter(|_| self.is_forced);
        Ok(Self::by(self.map, Some(threshold), only))
    }

    /// By that program and no other, or a walk.
    #[doc(hidden)]
    pub fn forced(self, way: GatherWay) -> Self {
        Self::by(self.map, self.threshold, Some(way))
    }

    /// How the program comes by the values of the other CPUs.
    #[doc(hidden)]
    pub fn way(&self) -> Option<GatherWay> {
        self.kernel.as_ref().ok().map(|kernel| kernel.1)
    }

    fn over(map: M, threshold: Option<fields::Threshold>) -> Self {
        Self::by(map, threshold, None)
    }

    fn by(map: M, threshold: Option<fields::Threshold>, only: Option<GatherWay>) -> Self {
        let kernel = load::load::<M>(map.raw(), threshold.as_ref(), only);
        if let Err(why) = &kernel {
            log::debug!("gathering `{}` by a walk: {why}", map.raw().name());
        }
        let is_forced = only.is_some();
        Self { map, kernel, is_forced, threshold, walked: Vec::new(), visited: None }
    }

    /// How the next gather works here: what the last one found has a say in it.
    pub fn mode(&self) -> GatherMode {
        match &self.kernel {
            Err(why) => GatherMode::Walk(why.clone()),
            Ok(_) if self.is_sparse() => GatherMode::Walk(format!(
                "the map is nearly empty: it had {} of {} entries",
                self.visited.unwrap_or_default(),
                self.map.raw().max_entries()
            )),
            Ok(_) => GatherMode::Kernel,
        }
    }

    /// Whether a walk is faster, by what there was the last time. Of a bucket that is empty the
    /// program costs three times as much: the kernel locks RCU for each, not once a batch.
    fn is_sparse(&self) -> bool {
        let raw = self.map.raw();
        let room = raw.max_entries() as usize;
        !self.is_forced
            && !raw.kind().is_array()
            && self.visited.is_some_and(|visited| visited < room / SPARSE)
    }

    /// The map.
    pub fn map(&self) -> &M {
        &self.map
    }

    /// Every key with its total. One `BPF_PROG_TEST_RUN`, or the reading of an iterator,
    /// or a walk.
    ///
    /// # Errors
    /// [`Sys`](Error::Sys); [`WalkInterrupted`](Error::WalkInterrupted) when a hash
    /// changed so fast that more elements came by than it holds; in a walk, as the
    /// map's `iter`.
    pub fn gather(&mut self) -> Result<&[Gathered<M::Key, M::Total>]> {
        self.run(None)
    }

    /// Every key of which the field that [`at_least`](Self::at_least) named is `least`
    /// or more; compared as signed where the field is.
    ///
    /// # Errors
    /// As [`gather`](Self::gather), and [`InvalidArgument`](Error::InvalidArgument)
    /// without a call of `at_least` before.
    pub fn gather_at_least(&mut self, least: i128) -> Result<&[Gathered<M::Key, M::Total>]> {
        if self.threshold.is_none() {
            let what = "`at_least` has not said which field to compare".into();
            return Err(Error::InvalidArgument { map: self.map.raw().name(), what });
        }
        self.run(Some(least))
    }

    fn run(&mut self, least: Option<i128>) -> Result<&[Gathered<M::Key, M::Total>]> {
        let is_sparse = self.is_sparse();
        let threshold = self.threshold.as_ref();
        let (kernel, way) = match &mut self.kernel {
            Ok((kernel, way)) if !is_sparse => (kernel, *way),
            _ => return self.walk(least),
        };
        let raw = self.map.raw();
        let mut args = GatherArgs {
            at_least: match threshold {
                Some(threshold) => match threshold.clamp(least) {
                    Some(least) => least,
                    // More than the field can hold.
                    None => return Ok(&[]),
                },
                None => 0,
            },
            ..GatherArgs::default()
        };
        let op = if way == GatherWay::Copies { Op::ReadIter } else { Op::Run };
        kernel.run(&mut args).map_err(|errno| raw.explain(op, errno))?;
        if args.astray > 0 {
            return self.run_without_addresses(least);
        }
        let records = args.records as usize;
        if args.no_room > 0 {
            return Err(Error::WalkInterrupted {
                map: raw.name(),
                delivered: records,
                why: "more elements came by than the map holds: it changes too fast",
            });
        }
        self.visited = Some(args.visited as usize);
        // It has just run; borrowed anew, so that what is above may change it.
        let Ok((kernel, _)) = &self.kernel else { return Ok(&[]) };
        Ok(kernel.records(records.min(load::room(self.map.raw()) as usize)))
    }

    /// The same by a walk.
    fn walk(&mut self, least: Option<i128>) -> Result<&[Gathered<M::Key, M::Total>]> {
        let (threshold, walked) = (self.threshold.as_ref(), &mut self.walked);
        walked.clear();
        let passes = |value: &M::Total| match (threshold, least) {
            (Some(threshold), Some(least)) => threshold.value(value) >= least,
            _ => true,
        };
        let visited = self.map.totals(&mut |key, value| {
            if passes(&value) {
                walked.push(Gathered { key, value });
            }
        })?;
        self.visited = Some(visited);
        Ok(&self.walked)
    }

    /// A value was not at its address: the first element was deleted meanwhile and came
    /// again, or this kernel keeps per-CPU memory otherwise. The other ways mind neither.
    fn run_without_addresses(
        &mut self,
        least: Option<i128>,
    ) -> Result<&[Gathered<M::Key, M::Total>]> {
        let (raw, threshold) = (self.map.raw(), self.threshold.as_ref());
        let way = load::without_addresses(raw);
        log::debug!("gathering `{}` by {way:?} from now on", raw.name());
        self.kernel = load::load::<M>(raw, threshold, Some(way));
        self.run(least)
    }
}

impl<M: Gatherable + fmt::Debug> fmt::Debug for Gatherer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gatherer").field("map", &self.map).field("mode", &self.mode()).finish()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::{Capability, PerCpu, PerCpuHash};

    /// No kernel is known where a value is not at its address, and a race is not to be had
    /// at will.
    #[test]
    fn a_gatherer_that_went_astray_goes_on_by_lookups() {
        if !Capability::Bpf.is_effective() || !Capability::Perfmon.is_effective() {
            println!("skipped: takes CAP_BPF and CAP_PERFMON");
            return;
        }
        let map = PerCpuHash::<u32, u64>::create("astray", 10).unwrap();
        map.update(3, &PerCpu::splat(5)).unwrap();
        let total = 5 * map.raw().shape().cpus as u64;
        let mut gatherer = Gatherer::sampling(&map).at_least("").unwrap();
        for least in [None, Some(1)] {
            let gathered = gatherer.run_without_addresses(least).unwrap();
            assert_eq!(gathered, [Gathered { key: 3, value: total }]);
        }
        assert_eq!(gatherer.run_without_addresses(Some(i128::from(total) + 1)).unwrap(), []);
        assert_eq!(
            (gatherer.mode(), gatherer.way()),
            (GatherMode::Kernel, Some(GatherWay::Lookups))
        );
        assert_eq!(gatherer.gather().unwrap().len(), 1);
    }
}
