//! Whole maps.

use std::os::fd::AsFd;
use std::path::Path;

use bpf_atlas::{
    Array, GatherMode, GatherWay, Gatherable, Gatherer, Hash, LruHash, LruPerCpuHash, PerCpu,
    PerCpuArray, PerCpuHash, Snapshot,
};
use libbpf_rs::MapHandle;

use super::c::{BatchLoop, Dumps, by_key, libbpf_rs};
use super::measure::{Case, MANY_ENTRIES, Report, Task};
use super::{Error, Kind, Others};

pub const TABLE: &str = "Walks: ns an entry";

/// What a row of that table is of.
fn what(kind: &str, entries: u32) -> String {
    match entries {
        1_000_000.. => format!("{kind}, {}M", entries / 1_000_000),
        _ => format!("{kind}, {}k", entries / 1000),
    }
}

pub fn is_of(what: &str, kind: &str) -> bool {
    what.split_once(',').is_some_and(|(before, _)| before == kind)
}

/// What every kind has, per-CPU or not; then the closures by which `each` makes a sum.
macro_rules! cases {
    ($O:ident, $kind:expr, $map:ident, $words:expr, $dumps:ident, $case:ident => $more:block) => {{
        let $map = &$map;
        let entries = $map.count()? as u32;
        let handle = MapHandle::from_map_id($map.info().id)?;
        let is_per_cpu = $map.raw().kind().is_per_cpu();
        let mut batch = BatchLoop::new($map.as_fd(), $words);
        let mut keeping = BatchLoop::keeping($map.as_fd(), $words, entries);
        let mut dump = $dumps.attach($map.as_fd(), is_per_cpu)?;
        let mut gatherer = Gatherer::sampling($map);
        let mut snapshot = Snapshot::new();
        let mut $case = vec![
            Case::new("C batch loop", move || batch.sum()),
            Case::new("sum", move || Ok($map.sum()?)),
        ];
        $more
        $case.push(Case::new("C batch loop, all kept", move || keeping.keep()));
        $case.push(Case::new("snapshot_into", move || {
            $map.snapshot_into(&mut snapshot)?;
            Ok(snapshot.entries().iter().fold(0, |sum: u64, one| sum.wrapping_add(one.1)))
        }));
        if gatherer.mode() == GatherMode::Kernel {
            $case.push(Case::new("gather", move || gathered(&mut gatherer)));
        } else {
            println!("<!-- gather: {} -->", gatherer.mode());
        }
        $case.push(Case::new("bpf_iter, seq file", move || dump.sum()));
        $case.push(Case::slow("C next_key + lookup", move || by_key($map.as_fd(), $words)));
        $case.push(Case::slow("libbpf-rs", move || libbpf_rs(&handle, is_per_cpu)));
        $case.extend($O::walk($kind, $map.as_fd())?);
        $case
    }};
}

macro_rules! plain {
    ($O:ident, $kind:ident, $map:ident, $dumps:ident) => {
        cases!($O, Kind::$kind, $map, 1, $dumps, cases => {
            cases.push(Case::new("for_each", move || {
                let mut sum = 0_u64;
                $map.for_each(|_, value| sum = sum.wrapping_add(value))?;
                Ok(sum)
            }));
            cases.push(Case::new("iter", move || {
                let mut sum = 0_u64;
                for entry in $map {
                    sum = sum.wrapping_add(entry?.1);
                }
                Ok(sum)
            }));
        })
    };
}

macro_rules! per_cpu {
    ($O:ident, $kind:ident, $map:ident, $dumps:ident) => {
        cases!($O, Kind::$kind, $map, cpus(), $dumps, cases => {
            cases.push(Case::new("sums", move || {
                let mut sum = 0_u64;
                for entry in $map.sums() {
                    sum = sum.wrapping_add(entry?.1);
                }
                Ok(sum)
            }));
            cases.push(Case::new("for_each", move || {
                let mut sum = 0_u64;
                $map.for_each(|_, value| sum = sum.wrapping_add(value.sum()))?;
                Ok(sum)
            }));
            cases.push(Case::new("iter", move || {
                let mut sum = 0_u64;
                for entry in $map {
                    sum = sum.wrapping_add(entry?.1.sum());
                }
                Ok(sum)
            }));
        })
    };
}

/// The ways to read a per-CPU map, each of a gather's among them.
macro_rules! against {
    ($map:ident, $entries:ident, $expected:ident, $dumps:ident) => {{
        let map = &$map;
        let mut batch = BatchLoop::new(map.as_fd(), cpus());
        let mut dump = $dumps.attach(map.as_fd(), true)?;
        let mut cases = vec![
            Case::new("C batch loop", move || batch.sum()),
            Case::new("count: nothing added up", move || {
                assert_eq!(map.count()?, $entries as usize);
                Ok($expected)
            }),
            Case::new("sum", move || Ok(map.sum()?)),
            Case::new("sums", move || {
                map.sums().try_fold(0_u64, |sum, entry| Ok(sum.wrapping_add(entry?.1)))
            }),
            Case::new("for_each", move || {
                let mut sum = 0_u64;
                map.for_each(|_, value| sum = sum.wrapping_add(value.sum()))?;
                Ok(sum)
            }),
            Case::new("iter", move || {
                map.iter().try_fold(0_u64, |sum, entry| Ok(sum.wrapping_add(entry?.1.sum())))
            }),
            Case::new("bpf_iter, seq file", move || dump.sum()),
        ];
        println!("<!-- gather chooses {:?} -->", Gatherer::sampling(map).way());
        let ways = [
            ("gather, lookups", GatherWay::Lookups),
            ("gather, addresses", GatherWay::Addresses),
            ("gather, copies", GatherWay::Copies),
        ];
        for (name, way) in ways {
            let mut gatherer = Gatherer::sampling(map).forced(way);
            if gatherer.mode() == GatherMode::Kernel {
                cases.push(Case::new(name, move || gathered(&mut gatherer)));
            } else {
                println!("<!-- {name}: {} -->", gatherer.mode());
            }
        }
        cases
    }};
}

fn cpus() -> usize {
    PerCpu::splat(0_u64).len()
}

fn gathered<M>(gatherer: &mut Gatherer<M>) -> Result<u64, Error>
where
    M: Gatherable<Key = u32, Total = u64>,
{
    Ok(gatherer.gather()?.iter().map(|one| one.value).fold(0, u64::wrapping_add))
}

fn values(entries: u32) -> impl Iterator<Item = (u32, u64)> {
    (0..entries).map(|key| (key, u64::from(key) * 3))
}

fn per_cpu_values(entries: u32) -> impl Iterator<Item = (u32, PerCpu<u64>)> {
    values(entries).map(|(key, value)| (key, PerCpu::splat(value)))
}

/// Which maps are walked: all, or those of the command line.
pub struct Chosen<'a> {
    pub most: u32,
    pub kind: Option<&'a str>,
    pub entries: Option<u32>,
}

impl Chosen<'_> {
    fn has(&self, kind: &str) -> bool {
        self.kind.is_none_or(|chosen| chosen == kind)
    }
}

pub fn run<O: Others>(report: &mut Report, chosen: &Chosen<'_>) -> Result<(), Error> {
    let dumps = Dumps::load(None, cpus())?;
    let sizes = [1000, 10_000, 100_000, 1_000_000, 4_000_000];
    let wanted = |&size: &u32| size <= chosen.most && chosen.entries.is_none_or(|one| one == size);
    for entries in sizes.into_iter().filter(wanted) {
        let once: u64 = values(entries).map(|one| one.1).sum();
        let on_all = once * cpus() as u64;
        let mut measure = |name: &str, expected, cases: &mut [Case<'_>]| {
            let what = what(name, entries);
            // A turn takes a millisecond or more.
            let runs = (20_000 / entries).max(1);
            let settled = (20_000..MANY_ENTRIES).contains(&entries).then_some(3);
            let task =
                Task { table: TABLE, what: &what, divisor: entries, runs, settled, expected };
            report.measure(&task, cases)
        };
        if chosen.has("Hash") {
            let map = Hash::<u32, u64>::create("bench", entries)?;
            map.update_all(values(entries))?;
            measure("Hash", once, &mut plain!(O, Hash, map, dumps))?;
        }
        if entries > 1_000_000 {
            break;
        }
        // Room for twice as many: a full one evicts.
        if chosen.has("LruHash") {
            let map = LruHash::<u32, u64>::create("bench", 2 * entries)?;
            map.update_all(values(entries))?;
            measure("LruHash", once, &mut plain!(O, LruHash, map, dumps))?;
        }
        if chosen.has("PerCpuHash") {
            let map = PerCpuHash::<u32, u64>::create("bench", entries)?;
            map.update_all(per_cpu_values(entries))?;
            measure("PerCpuHash", on_all, &mut per_cpu!(O, PerCpuHash, map, dumps))?;
        }
        if chosen.has("LruPerCpuHash") {
            let map = LruPerCpuHash::<u32, u64>::create("bench", 2 * entries)?;
            map.update_all(per_cpu_values(entries))?;
            measure("LruPerCpuHash", on_all, &mut per_cpu!(O, LruPerCpuHash, map, dumps))?;
        }
        if chosen.has("Array") {
            let map = Array::<u64>::create("bench", entries)?;
            map.update_all(values(entries))?;
            measure("Array", once, &mut plain!(O, Array, map, dumps))?;
        }
        if chosen.has("PerCpuArray") {
            let map = PerCpuArray::<u64>::create("bench", entries)?;
            map.update_all(per_cpu_values(entries))?;
            measure("PerCpuArray", on_all, &mut per_cpu!(O, PerCpuArray, map, dumps))?;
        }
    }
    Ok(())
}

/// Maps with far more room than entries.
pub fn sparse(report: &mut Report) -> Result<(), Error> {
    for (entries, room, runs) in [(300, 10_240, 20), (10, 1_000_000, 1)] {
        let map = Hash::<u32, u64>::create("bench", room)?;
        map.update_all(values(entries))?;
        let mut batch = BatchLoop::new(map.as_fd(), 1);
        let mut gatherer = Gatherer::sampling(&map);
        let mut cases = [
            Case::new("C batch loop", || batch.sum()),
            Case::new("sum", || Ok(map.sum()?)),
            Case::new("iter", || {
                map.iter().try_fold(0_u64, |sum, entry| Ok(sum.wrapping_add(entry?.1)))
            }),
            Case::new("gather", || gathered(&mut gatherer)),
            Case::new("C next_key + lookup", || by_key(map.as_fd(), 1)),
        ];
        let what = format!("Hash, {entries} of {room}");
        let expected = values(entries).map(|one| one.1).sum();
        let table = "Sparse maps: ns a walk";
        let task = Task { table, what: &what, divisor: 1, runs, settled: None, expected };
        report.measure(&task, &mut cases)?;
    }
    Ok(())
}

/// What the entries of a batch are chosen by.
pub fn batch_sizes(report: &mut Report, most: u32) -> Result<(), Error> {
    for entries in [10_000, 1_000_000] {
        if entries > most {
            break;
        }
        let map = Hash::<u32, u64>::create("bench", entries)?;
        map.update_all(values(entries))?;
        let sizes = [
            ("4096", 4096),
            ("64", 64),
            ("256", 256),
            ("1024", 1024),
            ("2048", 2048),
            ("8192", 8192),
            ("16384", 16_384),
            ("65536", 65_536),
        ];
        let mut cases = Vec::new();
        for (name, size) in sizes {
            let map = map.clone().with_batch_size(size)?;
            cases.push(Case::new(name, move || Ok(map.sum()?)));
        }
        let what = what("Hash", entries);
        let expected = values(entries).map(|one| one.1).sum();
        let runs = (20_000 / entries).max(1);
        let table = "`with_batch_size` of so many entries, `sum`: ns an entry";
        let task = Task { table, what: &what, divisor: entries, runs, settled: None, expected };
        report.measure(&task, &mut cases)?;
    }
    Ok(())
}

pub const CPUS_TABLE: &str = "Against possible CPUs: ns an entry";

/// The same maps against the CPUs that the kernel may have: their batches grow with them.
/// `compiled` is `benches/bpf/walk.bpf.c`, for a machine without a compiler.
pub fn against_cpus(report: &mut Report, compiled: Option<&Path>) -> Result<(), Error> {
    let entries = 4000;
    let dumps = Dumps::load(compiled, cpus())?;
    let hash = PerCpuHash::<u32, u64>::create("bench", entries)?;
    hash.update_all(per_cpu_values(entries))?;
    let array = PerCpuArray::<u64>::create("bench", entries)?;
    array.update_all(per_cpu_values(entries))?;
    let expected = values(entries).map(|one| one.1).sum::<u64>() * cpus() as u64;
    let mut measure = |kind: &str, cases: &mut [Case<'_>]| {
        let what = format!("{kind}, {} CPUs", cpus());
        let task = Task {
            table: CPUS_TABLE,
            what: &what,
            divisor: entries,
            runs: 1,
            settled: None,
            expected,
        };
        report.measure(&task, cases)
    };
    measure("PerCpuHash", &mut against!(hash, entries, expected, dumps))?;
    measure("PerCpuArray", &mut against!(array, entries, expected, dumps))
}
