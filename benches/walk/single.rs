//! One element at a time, and many writes.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use bpf_atlas::{Array, Hash, PerCpu, PerCpuArray};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::c;
use super::measure::{Case, Report, Task};
use super::{Error, Kind, Others};

const TABLE: &str = "Single operations: ns each";

fn word(value: &[u8]) -> Result<u64, Error> {
    Ok(u64::from_ne_bytes(value[..8].try_into()?))
}

/// Does `one` for each key; the sum of what it gives.
fn each(keys: u32, mut one: impl FnMut(u32) -> Result<u64, Error>) -> Result<u64, Error> {
    let mut sum = 0_u64;
    for key in 0..keys {
        sum = sum.wrapping_add(one(key)?);
    }
    Ok(sum)
}

fn lookup_by_c<'a>(fd: RawFd, keys: u32) -> Case<'a> {
    Case::new("libbpf, C", move || {
        each(keys, |key| {
            let mut value = [0];
            Ok(if c::lookup(fd, &key, &mut value)? { value[0] } else { 0 })
        })
    })
}

fn lookup_by_libbpf_rs(handle: &MapHandle, keys: u32) -> Case<'_> {
    Case::new("libbpf-rs", move || {
        each(keys, |key| match handle.lookup(&key.to_ne_bytes(), MapFlags::ANY)? {
            Some(value) => word(&value),
            None => Ok(0),
        })
    })
}

/// `keys` operations a turn.
pub fn run<O: Others>(report: &mut Report, keys: u32) -> Result<(), Error> {
    lookups::<O>(report, keys)?;
    writes(report, keys)?;
    let many = if keys < 10_000 { 10_000 } else { 100_000 };
    update_all(report, many)
}

fn lookups<O: Others>(report: &mut Report, keys: u32) -> Result<(), Error> {
    let expected: u64 = (0..u64::from(keys)).sum();
    let task = |what, expected| Task {
        table: TABLE,
        what,
        divisor: keys,
        runs: 1,
        settled: None,
        expected,
    };

    let map = Hash::<u32, u64>::create("bench", keys)?;
    map.update_all((0..keys).map(|key| (key, u64::from(key))))?;
    let (fd, handle) = (map.as_fd().as_raw_fd(), MapHandle::from_map_id(map.info().id)?);
    let mut cases = vec![
        lookup_by_c(fd, keys),
        Case::new("bpf-atlas", || each(keys, |key| Ok(map.lookup(key)?.unwrap_or(0)))),
        lookup_by_libbpf_rs(&handle, keys),
    ];
    cases.extend(O::lookup(Kind::Hash, map.as_fd(), keys)?);
    report.measure(&task("lookup, Hash", expected), &mut cases)?;
    drop(cases);

    let map = Array::<u64>::create("bench", keys)?;
    map.update_all((0..keys).map(|key| (key, u64::from(key))))?;
    let (fd, handle) = (map.as_fd().as_raw_fd(), MapHandle::from_map_id(map.info().id)?);
    let mut cases = vec![
        lookup_by_c(fd, keys),
        Case::new("bpf-atlas", || each(keys, |key| Ok(map.lookup(key)?))),
        lookup_by_libbpf_rs(&handle, keys),
    ];
    cases.extend(O::lookup(Kind::Array, map.as_fd(), keys)?);
    report.measure(&task("lookup, Array", expected), &mut cases)?;
    drop(cases);

    let map = PerCpuArray::<u64>::create("bench", keys)?;
    let cpus = PerCpu::splat(0_u64).len();
    map.update_all((0..keys).map(|key| (key, PerCpu::splat(u64::from(key)))))?;
    let (fd, handle) = (map.as_fd().as_raw_fd(), MapHandle::from_map_id(map.info().id)?);
    let mut value = vec![0; cpus];
    let mut cases = vec![
        Case::new("libbpf, C", || {
            each(keys, |key| {
                c::lookup(fd, &key, &mut value)?;
                Ok(value.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)))
            })
        }),
        Case::new("bpf-atlas `sum_of`", || each(keys, |key| Ok(map.sum_of(key)?))),
        Case::new("bpf-atlas `lookup`", || each(keys, |key| Ok(map.lookup(key)?.sum()))),
        Case::new("libbpf-rs", || {
            each(keys, |key| {
                let values = handle.lookup_percpu(&key.to_ne_bytes(), MapFlags::ANY)?;
                let values = values.unwrap_or_default();
                values.iter().try_fold(0_u64, |sum, value| Ok(sum.wrapping_add(word(value)?)))
            })
        }),
    ];
    cases.extend(O::lookup(Kind::PerCpuArray, map.as_fd(), keys)?);
    report.measure(&task("lookup and sum, PerCpuArray", expected * cpus as u64), &mut cases)
}

fn writes(report: &mut Report, keys: u32) -> Result<(), Error> {
    let map = Hash::<u32, u64>::create("bench", keys)?;
    let fill = || Ok(map.update_all((0..keys).map(|key| (key, 1))).map(drop)?);
    fill()?;
    let (fd, handle) = (map.as_fd().as_raw_fd(), MapHandle::from_map_id(map.info().id)?);
    let task = |what| Task {
        table: TABLE,
        what,
        divisor: keys,
        runs: 1,
        settled: None,
        expected: keys.into(),
    };
    let mut cases = [
        Case::new("libbpf, C", || each(keys, |key| c::update(fd, &key, &7).map(|()| 1))),
        Case::new("bpf-atlas", || {
            each(keys, |key| {
                map.update(key, 7)?;
                Ok(1)
            })
        }),
        Case::new("libbpf-rs", || {
            each(keys, |key| {
                handle.update(&key.to_ne_bytes(), &7_u64.to_ne_bytes(), MapFlags::ANY)?;
                Ok(1)
            })
        }),
    ];
    report.measure(&task("update, Hash"), &mut cases)?;
    let mut cases = [
        Case::new("libbpf, C", || each(keys, |key| c::delete(fd, &key).map(|()| 1))),
        Case::new("bpf-atlas", || each(keys, |key| Ok(map.delete(key)?.into()))),
        Case::new("libbpf-rs", || {
            each(keys, |key| {
                handle.delete(&key.to_ne_bytes())?;
                Ok(1)
            })
        }),
    ];
    report.measure_prepared(&task("delete, Hash"), fill, &mut cases)
}

fn update_all(report: &mut Report, many: u32) -> Result<(), Error> {
    let map = Hash::<u32, u64>::create("bench", many)?;
    let (fd, handle) = (map.as_fd().as_raw_fd(), MapHandle::from_map_id(map.info().id)?);
    let (keys, values): (Vec<_>, Vec<_>) = (0..many).map(|key| (key, u64::from(key))).unzip();
    let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let key_bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_ne_bytes()).collect();
    let value_bytes: Vec<u8> = bytes(&values);
    let mut cases = [
        Case::new("libbpf, C, one batch", || c::update_batch(fd, &keys, &values)),
        Case::new(
            "bpf-atlas `update_all`",
            || Ok(map.update_all(keys.iter().zip(&values))? as u64),
        ),
        Case::new("libbpf-rs `update_batch`", || {
            handle.update_batch(&key_bytes, &value_bytes, many, MapFlags::ANY, MapFlags::ANY)?;
            Ok(many.into())
        }),
        Case::new("libbpf, C, one by one", || {
            let entries = keys.iter().zip(&values);
            entries.map(|(key, value)| c::update(fd, key, value).map(|()| 1)).sum()
        }),
    ];
    let what = format!("{many} updates, Hash: ns an entry");
    let expected = many.into();
    let task = Task { table: TABLE, what: &what, divisor: many, runs: 1, settled: None, expected };
    report.measure(&task, &mut cases)
}
