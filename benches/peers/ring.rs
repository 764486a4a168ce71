//! `benches/ring.rs`, with aya.

#![allow(unsafe_code)]

#[path = "../ring/bench.rs"]
mod bench;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use aya::maps::{Map, MapData, RingBuf};
use bench::Error;
use bench::fill::{Drain, Filled, Total};
use bench::kernel::Maps;
use bench::live::{Course, LOOK_EVERY, Live, Seen, Sink};
use bench::peers::words;
use libbpf_rs::MapHandle;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

struct Aya;

impl bench::Others for Aya {
    const ABSENT: &str = "";

    fn filled<const N: usize, const ALL: bool>() -> Vec<Filled> {
        vec![Filled { name: "aya", open: |map| Ok(Box::new(FromAya::<N, ALL>(open(map)?))) }]
    }

    fn live() -> Vec<Live> {
        vec![Live { name: "aya", program: "plain", flags: 0, read }]
    }
}

fn open(map: &MapHandle) -> Result<RingBuf<MapData>, Error> {
    let map = MapData::from_fd(map.as_fd().try_clone_to_owned()?)?;
    Ok(RingBuf::try_from(Map::RingBuf(map))?)
}

struct FromAya<const N: usize, const ALL: bool>(RingBuf<MapData>);

impl<const N: usize, const ALL: bool> Drain for FromAya<N, ALL> {
    fn drain(&mut self) -> Result<Total, Error> {
        let mut total = Total::default();
        while let Some(record) = self.0.next() {
            total.add::<N, ALL>(words(&record).ok_or("a record that is too short")?);
        }
        Ok(total)
    }
}

/// aya has no loop of its own: `poll` on its descriptor, then all that is there.
fn read(maps: &Maps, course: &Course) -> Result<Seen, Error> {
    let mut ring = open(&maps.events)?;
    let mut sink = Sink::default();
    let mut drain = |ring: &mut RingBuf<MapData>| {
        while let Some(record) = ring.next() {
            sink.take(words(&record).ok_or("a record that is too short")?);
        }
        Ok::<_, Error>(())
    };
    let timeout = PollTimeout::try_from(LOOK_EVERY)?;
    let seen = course.measure(|over| {
        while !over.load(Ordering::Acquire) {
            poll(&mut [PollFd::new(ring.as_fd(), PollFlags::POLLIN)], timeout)?;
            drain(&mut ring)?;
        }
        drain(&mut ring)
    })?;
    seen.with(sink)
}

fn main() -> Result<(), Error> {
    bench::main::<Aya>()
}
