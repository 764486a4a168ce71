//! Which of the programs a map is gathered by, and how it is loaded.

use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libbpf_rs::{MapCore, Object};

use super::bpf::{self, GatherArgs, GatherField, Rodata};
use super::{Gathered, fields};
use crate::agent::quietly;
use crate::object::{ObjectError, OpenedObject};
use crate::rates::Totals;
use crate::raw::{MapKind, RawMap};
use crate::sys::bpf::Map;
use crate::sys::bpf::possible_cpus;
use crate::sys::gathering::{Gathering, Start};
use crate::sys::pod::Pod;
use crate::{Accumulate, CreateFlags};

mod bpf_cpus {
    include!(concat!(env!("OUT_DIR"), "/gather_cpus.rs"));
}

/// How the program comes by the values of the other CPUs; for tests and benchmarks.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatherWay {
    /// It looks each up. All that there is where a key has one value.
    Lookups,
    /// It reads them where they are: Linux 6.2, with the kernel's types.
    Addresses,
    /// The kernel copies them for an iterator of the map.
    Copies,
}

/// From so many possible CPUs on copies of a hash's values are the better second choice: a
/// lookup hashes the key anew for each. See docs/bench/cpus.md.
const MANY_CPUS: usize = 8;
/// From so many additions an element on the kernel loops over the CPUs, or the verifier would
/// walk through all of them.
const MANY_ADDITIONS: usize = 2048;

/// The programs in question, the best first.
fn ways(map: &RawMap) -> &'static [GatherWay] {
    use GatherWay::{Addresses, Copies, Lookups};
    let kind = map.kind();
    match map.shape().cpus {
        _ if !kind.is_per_cpu() => &[Lookups],
        _ if kind == MapKind::LruPerCpuHash => &[Addresses, Copies],
        MANY_CPUS.. if !kind.is_array() => &[Addresses, Copies, Lookups],
        _ => &[Addresses, Lookups],
    }
}

/// The way that needs no address. Each lookup tells an LRU map that the element is in use,
/// and one of which all are evicts those that programs use.
pub(super) fn without_addresses(map: &RawMap) -> GatherWay {
    match map.kind() {
        MapKind::LruPerCpuHash => GatherWay::Copies,
        _ => GatherWay::Lookups,
    }
}

/// Loads the best program that the kernel takes, or `only` that one; or says why not.
pub(super) fn load<M: Totals>(
    map: &RawMap,
    threshold: Option<&fields::Threshold>,
    only: Option<GatherWay>,
) -> Result<(Gathering, GatherWay), String> {
    let is_per_cpu = map.kind().is_per_cpu();
    let fields = match fields::flatten(&M::Total::LAYOUT, &M::Total::RULES) {
        Some(fields) => fields,
        // One value a key: nothing is added up.
        None if !is_per_cpu => Vec::new(),
        None => return Err("the program cannot add up values of this type".into()),
    };
    let program = Program {
        key_size: size_of::<M::Key>(),
        value_size: size_of::<M::Total>(),
        value_at: offset_of!(Gathered<M::Key, M::Total>, value),
        stride: size_of::<Gathered<M::Key, M::Total>>(),
        cpus: if is_per_cpu { map.shape().cpus } else { 0 },
        fields,
        threshold: threshold.map(|threshold| threshold.field),
    };
    let mut refused = String::new();
    for &way in only.as_ref().map_or(ways(map), std::slice::from_ref) {
        match program.load(map, way) {
            Ok(gathering) => return Ok((gathering, way)),
            Err(error) => {
                log::debug!("gathering `{}` by {way:?}: {error}", map.name());
                refused = error.to_string();
            }
        }
    }
    Err(refused)
}

/// What a program is told before it is loaded.
struct Program {
    key_size: usize,
    value_size: usize,
    /// In a record.
    value_at: usize,
    stride: usize,
    /// How many to add up; 0 where the map is not per-CPU.
    cpus: usize,
    fields: Vec<GatherField>,
    threshold: Option<GatherField>,
}

/// How many elements a map may hold. One without preallocation looks at how many there are
/// before it adds one, so CPUs that do so at once take it beyond its limit, where it stays.
pub(super) fn room(map: &RawMap) -> u32 {
    let flags = CreateFlags::from_bits(map.shape().flags);
    let more =
        if flags.contains(CreateFlags::NO_PREALLOC) { possible_cpus().unwrap_or(1) } else { 0 };
    map.max_entries().saturating_add(more as u32)
}

fn missing(what: &str) -> ObjectError {
    ObjectError::Missing { what: what.into() }
}

impl Program {
    fn load(&self, map: &RawMap, way: GatherWay) -> Result<Gathering, ObjectError> {
        let (object, name) = match way {
            GatherWay::Lookups => (bpf::OBJECT, "gather"),
            GatherWay::Addresses => (bpf_cpus::OBJECT, "gather"),
            GatherWay::Copies => (bpf_cpus::OBJECT, "gather_copies"),
        };
        let mut open = OpenedObject::open("gather", object)?;
        let mut rodata = open.section::<Rodata>(".rodata")?;
        self.tell(&mut rodata)?;
        open.set_section(".rodata", &*rodata)?;
        let records = room(map);
        quietly("preparing the gatherer", || {
            for mut other in open.libbpf_mut().maps_mut() {
                match other.name().to_str() {
                    Some("source") => other.reuse_fd(map.as_fd())?,
                    Some("output") => {
                        other.set_value_size(self.stride as u32)?;
                        other.set_max_entries(records)?;
                    }
                    Some("distances") => other.set_value_size(8 * (1 + self.cpus as u32))?,
                    _ => {}
                }
            }
            for mut program in open.libbpf_mut().progs_mut() {
                let is_it = program.name() == name;
                program.set_autoload(is_it);
            }
            Ok(())
        })?;
        let loaded = open.load()?;
        let object = loaded.libbpf();
        let output = named(object, "output")?;
        let start = self.start(object, name, way, map)?;
        let gathering = Gathering::new(start, output.as_fd(), records as usize, self.stride);
        gathering.map_err(|errno| ObjectError::Kernel { what: "mapping the output".into(), errno })
    }

    fn tell(&self, rodata: &mut Rodata) -> Result<(), ObjectError> {
        rodata.key_size = self.key_size as u32;
        rodata.value_size = self.value_size as u32;
        rodata.value_at = self.value_at as u32;
        rodata.cpus = self.cpus as u32;
        rodata.fields = self.fields.len() as u32;
        rodata.loops = (self.cpus * self.fields.len() >= MANY_ADDITIONS).into();
        if let Some(threshold) = self.threshold {
            rodata.is_filtered = 1;
            rodata.threshold = threshold;
        }
        let room = rodata.field.get_mut(..self.fields.len());
        room.ok_or_else(|| missing("room for so many fields"))?.copy_from_slice(&self.fields);
        Ok(())
    }

    fn start(
        &self,
        object: &Object,
        name: &str,
        way: GatherWay,
        map: &RawMap,
    ) -> Result<Start, ObjectError> {
        let mut program = object.progs_mut().find(|program| program.name() == name);
        let program = program.as_mut().ok_or_else(|| missing("program"))?;
        if way != GatherWay::Copies {
            return Ok(Start::Run(kept(program.as_fd())?));
        }
        let link = quietly("attaching the iterator", || program.attach_iter(map.as_fd()))?;
        let answer = named(object, "answer")?;
        assert_eq!(answer.value_size() as usize, size_of::<GatherArgs>());
        let answer = Map::new(kept(answer.as_fd())?)
            .map_err(|errno| ObjectError::Kernel { what: "opening the answer".into(), errno })?;
        Ok(Start::Read { link: kept(link.as_fd())?, answer })
    }
}

fn named<'a>(object: &'a Object, name: &str) -> Result<libbpf_rs::Map<'a>, ObjectError> {
    object.maps().find(|map| map.name() == name).ok_or_else(|| missing(&format!("map `{name}`")))
}

fn kept(fd: BorrowedFd<'_>) -> Result<OwnedFd, ObjectError> {
    fd.try_clone_to_owned().map_err(|_| missing("a descriptor left for the program"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LruPerCpuHash, PerCpuArray, PerCpuHash};

    #[cfg(not(miri))]
    #[test]
    fn an_lru_is_never_gathered_by_lookups() {
        if !crate::Capability::Bpf.is_effective() {
            println!("skipped: takes CAP_BPF");
            return;
        }
        let lru = LruPerCpuHash::<u32, u64>::create("lru", 10).unwrap();
        assert!(!ways(lru.raw()).contains(&GatherWay::Lookups));
        assert_eq!(without_addresses(lru.raw()), GatherWay::Copies);
    }

    /// As many as the program has room for, of every rule.
    fn fields() -> Vec<GatherField> {
        let field = |n: u16| GatherField {
            offset: n * 8,
            size: 8,
            rule: (n % 4) as u8,
            is_signed: (n / 4 % 2) as u8,
            ..GatherField::default()
        };
        (0..64).map(field).collect()
    }

    /// The verifier's bound is on the steps, and they grow with both. The map has the CPUs of
    /// this machine, so it is only loaded.
    #[cfg(not(miri))]
    #[test]
    fn the_verifier_takes_all_fields_on_many_cpus() {
        if !crate::Capability::Bpf.is_effective() {
            println!("skipped: takes CAP_BPF");
            return;
        }
        let hash = PerCpuHash::<u32, [u64; 64]>::create("wide", 10).unwrap();
        let array = PerCpuArray::<[u64; 64]>::create("wide", 10).unwrap();
        let rdonly_cast = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let has_addresses = rdonly_cast.contains(" bpf_rdonly_cast");
        for (cpus, count) in [(2, 64), (16, 64), (128, 1), (128, 64), (1024, 64)] {
            let mut program = Program {
                key_size: 4,
                value_size: 512,
                value_at: 8,
                stride: 520,
                cpus,
                fields: fields()[..count].to_vec(),
                threshold: None,
            };
            for map in [hash.raw(), array.raw()] {
                program.load(map, GatherWay::Lookups).unwrap();
                if has_addresses {
                    program.load(map, GatherWay::Addresses).unwrap();
                }
            }
            // Copies are read at places that are known, so the verifier walks through all of
            // them, and through both sides of each comparison: sums are without.
            if cpus > 128 {
                continue;
            }
            for field in &mut program.fields {
                field.rule = 0;
            }
            match program.load(hash.raw(), GatherWay::Copies) {
                Ok(_) => assert!(cpus <= hash.raw().shape().cpus),
                // It was loaded, but this map has not so many copies.
                Err(error) => {
                    assert!(error.to_string().contains("attaching the iterator"), "{error}");
                }
            }
        }
    }
}
