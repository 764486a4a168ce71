//! [`Gatherer`]: a walk that the kernel makes.

mod fields;

use std::fmt;
use std::mem::offset_of;
use std::os::fd::AsFd;

use libbpf_rs::MapCore;

use crate::agent::quietly;
use crate::error::{Error, Op, Result};
use crate::object::{ObjectError, OpenedObject};
use crate::rates::{Totals, sealed::Raw};
use crate::raw::RawMap;
use crate::sys::gathering::Gathering;
use crate::sys::pod::Pod;
use crate::{Accumulate, Array, PerCpuArray};

mod bpf {
    include!(concat!(env!("OUT_DIR"), "/gather.rs"));
}

use bpf::{GatherArgs, Rodata};

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
/// for the whole map, whatever its size. Loading the program costs some
/// milliseconds, once for each gatherer, and it keeps memory for
/// `max_entries` records.
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
/// walks, and [`mode`](Self::mode) says so.
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
    kernel: Result<Gathering, String>,
    threshold: Option<fields::Threshold>,
    walked: Vec<Gathered<M::Key, M::Total>>,
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
        Ok(Self::over(self.map, Some(threshold)))
    }

    fn over(map: M, threshold: Option<fields::Threshold>) -> Self {
        let kernel = load::<M>(map.raw(), threshold.as_ref());
        if let Err(why) = &kernel {
            log::debug!("gathering `{}` by a walk: {why}", map.raw().name());
        }
        Self { map, kernel, threshold, walked: Vec::new() }
    }

    /// How it works here.
    pub fn mode(&self) -> GatherMode {
        match &self.kernel {
            Ok(_) => GatherMode::Kernel,
            Err(why) => GatherMode::Walk(why.clone()),
        }
    }

    /// The map.
    pub fn map(&self) -> &M {
        &self.map
    }

    /// Every key with its total. One `BPF_PROG_TEST_RUN`, or a walk.
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
        let threshold = self.threshold.as_ref();
        let Ok(kernel) = &mut self.kernel else {
            self.walked.clear();
            let passes = |value: &M::Total| match (threshold, least) {
                (Some(threshold), Some(least)) => threshold.value(value) >= least,
                _ => true,
            };
            let walked = &mut self.walked;
            self.map.totals(&mut |key, value| {
                if passes(&value) {
                    walked.push(Gathered { key, value });
                }
            })?;
            return Ok(&self.walked);
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
        kernel.run(&mut args).map_err(|errno| raw.explain(Op::Run, errno))?;
        let records = args.records as usize;
        if args.no_room > 0 {
            return Err(Error::WalkInterrupted {
                map: raw.name(),
                delivered: records,
                why: "more elements came by than the map holds: it changes too fast",
            });
        }
        Ok(kernel.records(records.min(raw.max_entries() as usize)))
    }
}

/// Loads the program for a map, or says why not.
fn load<M: Totals>(
    map: &RawMap,
    threshold: Option<&fields::Threshold>,
) -> Result<Gathering, String> {
    let rules = fields::flatten(&M::Total::LAYOUT, &M::Total::RULES);
    let per_cpu = map.kind().is_per_cpu();
    let fields = match rules {
        Some(rules) => rules,
        // One value a key: nothing is added up.
        None if !per_cpu => Vec::new(),
        None => return Err("the program cannot add up values of this type".into()),
    };
    let stride = size_of::<Gathered<M::Key, M::Total>>();
    let rodata = |rodata: &mut Rodata| {
        rodata.key_size = size_of::<M::Key>() as u32;
        rodata.value_size = size_of::<M::Total>() as u32;
        rodata.value_at = offset_of!(Gathered<M::Key, M::Total>, value) as u32;
        rodata.cpus = if per_cpu { map.shape().cpus as u32 } else { 0 };
        rodata.fields = fields.len() as u32;
        if let Some(threshold) = threshold {
            rodata.is_filtered = 1;
            rodata.threshold = threshold.field;
        }
        fields.len() <= rodata.field.len() && {
            rodata.field[..fields.len()].copy_from_slice(&fields);
            true
        }
    };
    load_object(map, rodata, stride).map_err(|error| error.to_string())
}

fn load_object(
    map: &RawMap,
    configure: impl FnOnce(&mut Rodata) -> bool,
    stride: usize,
) -> Result<Gathering, ObjectError> {
    let missing = |what: &str| ObjectError::Missing { what: what.into() };
    let mut open = OpenedObject::open("gather", bpf::OBJECT)?;
    let mut rodata = open.section::<Rodata>(".rodata")?;
    if !configure(&mut rodata) {
        return Err(missing("room for so many fields"));
    }
    open.set_section(".rodata", &*rodata)?;
    let records = map.max_entries();
    quietly("preparing the gatherer", || {
        for mut other in open.libbpf_mut().maps_mut() {
            match other.name().to_str() {
                Some("source") => other.reuse_fd(map.as_fd())?,
                Some("output") => {
                    other.set_value_size(stride as u32)?;
                    other.set_max_entries(records)?;
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    let loaded = open.load()?;
    let object = loaded.libbpf();
    let output = object.maps().find(|map| map.name() == "output");
    let program = object.progs().find(|program| program.name() == "gather");
    let (Some(output), Some(program)) = (output, program) else {
        return Err(missing("map `output` or program `gather`"));
    };
    let program = program.as_fd().try_clone_to_owned();
    let program = program.map_err(|_| missing("a descriptor for the program"))?;
    let gathering = Gathering::new(program, output.as_fd(), records as usize, stride);
    gathering.map_err(|errno| ObjectError::Kernel { what: "mapping the output".into(), errno })
}

impl<M: Gatherable + fmt::Debug> fmt::Debug for Gatherer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gatherer").field("map", &self.map).field("mode", &self.mode()).finish()
    }
}
