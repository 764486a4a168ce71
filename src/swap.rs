//! [`Swap`]: two maps that take turns, for exact resets.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use crate::error::{Op, OpenError, Result};
use crate::raw::{MapKind, RawMap};
use crate::source::MapSource;
use crate::sys::pod::bytes_of;
use crate::{Array, Hash, LruHash, LruPerCpuHash, PerCpu, PerCpuArray, PerCpuHash, Pod};

/// A kind of map that [`Swap`] can empty. Sealed.
pub trait Swappable: MapSource + AsFd {
    #[doc(hidden)]
    fn empty(&self) -> Result<()>;
}

macro_rules! swappable {
    ($($name:ident),*) => {$(
        impl<K: Pod, V: Pod> Swappable for $name<K, V> {
            fn empty(&self) -> Result<()> {
                self.clear().map(drop)
            }
        }
    )*};
}

swappable!(Hash, LruHash, PerCpuHash, LruPerCpuHash);

impl<V: Pod> Swappable for Array<V> {
    fn empty(&self) -> Result<()> {
        let zero = crate::sys::pod::zeroed::<V>();
        self.update_all((0..self.max_entries()).map(|index| (index, zero))).map(drop)
    }
}

impl<V: Pod> Swappable for PerCpuArray<V> {
    fn empty(&self) -> Result<()> {
        let zero = PerCpu::splat(crate::sys::pod::zeroed::<V>());
        self.update_all((0..self.max_entries()).map(|index| (index, &zero))).map(drop)
    }
}

/// Two maps behind one slot of an `ARRAY_OF_MAPS`: programs write one while
/// the other is read and emptied, so that counters reset exactly.
///
/// [`swap`](Self::swap) exchanges them. The kernel waits until every program
/// that was running has ended (`synchronize_rcu`), so no one holds a pointer
/// into the map that comes back: nothing is lost and nothing is booked twice.
/// This holds for programs that do not sleep, which is all but those in a
/// `.s` section.
///
/// In the kernel half:
///
/// ```c
/// struct inner {
///     __uint(type, BPF_MAP_TYPE_HASH);
///     __uint(max_entries, 10240);
///     __type(key, __u32);
///     __type(value, __u64);
/// } first SEC(".maps");
/// struct {
///     __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
///     __uint(max_entries, 1);
///     __type(key, __u32);
///     __array(values, struct inner);
/// } counts SEC(".maps") = { .values = { &first } };
/// // in the program: look slot 0 of `counts` up, then count in what it gives
/// ```
///
/// ```no_run
/// use bpf_atlas::{Hash, Swap};
///
/// # fn run(counts: libbpf_rs::MapHandle, first: libbpf_rs::MapHandle) -> Result<(), Box<dyn std::error::Error>> {
/// let first = Hash::<u32, u64>::open(&first)?;
/// let second = Hash::<u32, u64>::create("second", first.max_entries())?;
/// let mut counts = Swap::open(&counts, first, second)?;
/// loop {
///     std::thread::sleep(std::time::Duration::from_secs(1));
///     for entry in counts.swap()?.iter() {
///         let (pid, calls) = entry?; // exactly what was counted since the last swap
///         println!("{pid}: {calls}");
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "BPF_MAP_TYPE_ARRAY_OF_MAPS")]
pub struct Swap<M> {
    outer: RawMap,
    slot: u32,
    maps: [M; 2],
    active: usize,
}

impl<M: Swappable> Swap<M> {
    /// Takes slot 0 of `outer`, puts `active` into it and keeps `standby`,
    /// which is emptied at the first swap. Both need the shape that the
    /// program gave the inner maps.
    ///
    /// One `BPF_MAP_UPDATE_ELEM`. Since Linux 4.12.
    ///
    /// # Errors
    /// [`Kind`](OpenError::Kind) when `outer` is no `ARRAY_OF_MAPS`;
    /// [`InvalidArgument`](OpenError::InvalidArgument) when the kernel refuses
    /// the inner maps' shape, or when both are the same map; as
    /// [`RawMap::open`].
    pub fn open(outer: impl MapSource, active: M, standby: M) -> Result<Self, OpenError> {
        Self::open_slot(outer, 0, active, standby)
    }

    /// As [`open`](Self::open), with a slot other than 0.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_slot(
        outer: impl MapSource,
        slot: u32,
        active: M,
        standby: M,
    ) -> Result<Self, OpenError> {
        let outer = RawMap::open(outer)?;
        if outer.kind() != MapKind::ArrayOfMaps {
            return Err(OpenError::Kind {
                map: outer.name(),
                wanted: "Swap",
                expected: MapKind::ArrayOfMaps,
                found: outer.kind(),
            });
        }
        let refuse = |what: String| Err(OpenError::InvalidArgument { what });
        if slot >= outer.max_entries() {
            let (name, max) = (outer.name(), outer.max_entries());
            return refuse(format!("map `{name}` has no slot {slot}: it has {max}, from 0"));
        }
        let (first, second) = (RawMap::open(&active)?, RawMap::open(&standby)?);
        if first.id() == second.id() {
            return refuse("a swap needs two maps; these are handles of one".into());
        }
        // The kernel judges the standby at the first swap only, too late to be told.
        let (one, other) = (first.shape(), second.shape());
        let sized = one.kind.is_array() && one.flags & libbpf_sys::BPF_F_INNER_MAP == 0;
        if one.flags != other.flags || (sized && one.max_entries != other.max_entries) {
            return refuse(format!(
                "maps `{}` and `{}` cannot take turns: flags {:#x} and {:#x}, max_entries {} and {}",
                one.name, other.name, one.flags, other.flags, one.max_entries, other.max_entries
            ));
        }
        let swap = Self { outer, slot, maps: [active, standby], active: 0 };
        match swap.put(0) {
            Ok(()) => Ok(swap),
            Err(error) => refuse(format!(
                "map `{}` does not take the inner map: {error}; both inner maps need the kind, \
                 sizes, flags and, for arrays, max_entries that the program declares",
                swap.outer.name()
            )),
        }
    }

    fn put(&self, which: usize) -> Result<()> {
        let fd = self.maps[which].as_fd().as_raw_fd();
        self.outer
            .sys()
            .update(bytes_of(&self.slot), bytes_of(&fd), 0)
            .map_err(|errno| self.outer.explain(Op::Update, errno))
    }

    /// Exchanges the maps and gives the one that programs wrote until now.
    ///
    /// It is quiet: no program writes it until the next swap, which empties
    /// it. Costs emptying the other map, one `BPF_MAP_UPDATE_ELEM` and the
    /// kernel's wait: measured 11 to 86 ms up to Linux 6.18, 1.5 ms on 7.2.
    ///
    /// # Errors
    /// As the map's `clear` and `update`. The maps have not been exchanged
    /// then, and nothing is lost: what was not read is still counted on.
    pub fn swap(&mut self) -> Result<&M> {
        let standby = 1 - self.active;
        self.maps[standby].empty()?;
        self.put(standby)?;
        let quiet = self.active;
        self.active = standby;
        Ok(&self.maps[quiet])
    }

    /// The map that programs write now. Reading it is what reading any live
    /// map is.
    pub fn active(&self) -> &M {
        &self.maps[self.active]
    }
}
