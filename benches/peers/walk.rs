//! `benches/walk.rs`, with aya.

#![allow(unsafe_code)]

#[path = "../walk/bench.rs"]
mod bench;

use std::os::fd::BorrowedFd;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuHashMap};
use bench::measure::Case;
use bench::{Error, Kind};

struct Aya;

/// A map of aya's, made of a duplicate of the descriptor.
fn open(kind: Kind, fd: BorrowedFd<'_>) -> Result<Map, Error> {
    let data = MapData::from_fd(fd.try_clone_to_owned()?)?;
    Ok(match kind {
        Kind::Hash => Map::HashMap(data),
        Kind::LruHash => Map::LruHashMap(data),
        Kind::PerCpuHash => Map::PerCpuHashMap(data),
        Kind::LruPerCpuHash => Map::PerCpuLruHashMap(data),
        Kind::Array => Map::Array(data),
        Kind::PerCpuArray => Map::PerCpuArray(data),
    })
}

impl bench::Others for Aya {
    const ABSENT: &str = "";

    fn walk(kind: Kind, fd: BorrowedFd<'_>) -> Result<Vec<Case<'static>>, Error> {
        let map = open(kind, fd)?;
        Ok(vec![match kind {
            Kind::Hash | Kind::LruHash => {
                let map = HashMap::<_, u32, u64>::try_from(map)?;
                Case::slow("aya", move || {
                    map.iter().try_fold(0_u64, |sum, entry| Ok(sum.wrapping_add(entry?.1)))
                })
            }
            Kind::PerCpuHash | Kind::LruPerCpuHash => {
                let map = PerCpuHashMap::<_, u32, u64>::try_from(map)?;
                Case::slow("aya", move || {
                    map.iter().try_fold(0_u64, |sum, entry| {
                        Ok(entry?.1.iter().fold(sum, |sum, value| sum.wrapping_add(*value)))
                    })
                })
            }
            Kind::Array => {
                let map = Array::<_, u64>::try_from(map)?;
                Case::slow("aya", move || {
                    map.iter().try_fold(0_u64, |sum, value| Ok(sum.wrapping_add(value?)))
                })
            }
            Kind::PerCpuArray => {
                let map = PerCpuArray::<_, u64>::try_from(map)?;
                Case::slow("aya", move || {
                    map.iter().try_fold(0_u64, |sum, values| {
                        Ok(values?.iter().fold(sum, |sum, value| sum.wrapping_add(*value)))
                    })
                })
            }
        }])
    }

    fn lookup(kind: Kind, fd: BorrowedFd<'_>, keys: u32) -> Result<Vec<Case<'static>>, Error> {
        let map = open(kind, fd)?;
        Ok(vec![match kind {
            Kind::Hash => {
                let map = HashMap::<_, u32, u64>::try_from(map)?;
                Case::new("aya", move || {
                    (0..keys).try_fold(0_u64, |sum, key| Ok(sum.wrapping_add(map.get(&key, 0)?)))
                })
            }
            Kind::Array => {
                let map = Array::<_, u64>::try_from(map)?;
                Case::new("aya", move || {
                    (0..keys).try_fold(0_u64, |sum, key| Ok(sum.wrapping_add(map.get(&key, 0)?)))
                })
            }
            Kind::PerCpuArray => {
                let map = PerCpuArray::<_, u64>::try_from(map)?;
                Case::new("aya", move || {
                    (0..keys).try_fold(0_u64, |sum, key| {
                        let values = map.get(&key, 0)?;
                        Ok(values.iter().fold(sum, |sum, value| sum.wrapping_add(*value)))
                    })
                })
            }
            _ => return Ok(Vec::new()),
        }])
    }
}

fn main() -> Result<(), Error> {
    bench::main::<Aya>()
}
