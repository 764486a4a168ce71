//! The mistakes with aya: maps are typed, and `Pod` is promised by hand.
#![allow(clippy::needless_borrows_for_generic_args)] // aya 0.16 takes references, 0.14 both

use std::error::Error;
use std::fmt::Debug;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use compare::{PACKET, PIN, Said, Unpin, object, walked};

/// `BPF_F_WRONLY`: aya takes flags as numbers.
const WRITE_ONLY: u32 = 1 << 4;

fn main() {
    compare::make(|mistake| match mistake {
        "1" => narrower(),
        "2" => swapped(),
        "3a" => short_key(),
        "3b" => dirty_key(),
        "4" => unsigned(),
        "5a" => grew(),
        "5b" => reordered(),
        "5c" => shrank(),
        "6" => boolean(),
        "7a" => hash_as_array(),
        "7b" => per_cpu_as_plain(),
        "7c" => Ok("there is no such call".into()),
        "7d" => per_cpu_of_another_width(),
        "8b" => past_the_end(),
        "9" => unreadable(),
        "10" => full(),
        "11a" => in_batches(),
        "11b" => expire_while_walking(),
        "11c" => reset_while_walking(),
        "12a" => longer_event(),
        "12b" => swapped_event(),
        "12c" => panic_at_an_event(),
        _ => Ok("-".into()),
    });
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Flow {
    packets: u64,
    bytes: u64,
}
unsafe impl Pod for Flow {}

fn narrower() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Narrow {
        packets: u64,
        bytes: u32,
        mark: u32,
    }
    unsafe impl Pod for Narrow {}

    let flows = HashMap::<_, u32, Narrow>::try_from(map("flows")?)?;
    Ok(format!("{:?}", flows.get(&0, 0)?))
}

fn swapped() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Swapped {
        bytes: u64,
        packets: u64,
    }
    unsafe impl Pod for Swapped {}

    let flows = HashMap::<_, u32, Swapped>::try_from(map("flows")?)?;
    Ok(format!("{:?}", flows.get(&0, 0)?))
}

fn short_key() -> Said {
    #[derive(Clone, Copy)]
    #[repr(C, packed)]
    struct PolicyKey {
        cgroup: u64,
        address: [u8; 16],
        port: u32,
    }
    unsafe impl Pod for PolicyKey {}

    let policies = HashMap::<_, PolicyKey, u32>::try_from(map("policies")?)?;
    let key = PolicyKey { cgroup: 7, address: [0; 16], port: 443 };
    Ok(format!("{:?}", policies.get(&key, 0)?))
}

fn dirty_key() -> Said {
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct PolicyKey {
        cgroup: u64,
        address: [u8; 16],
        port: u32,
    }
    unsafe impl Pod for PolicyKey {}

    let mut memory = [u64::MAX; 4]; // that something else used before
    let key = unsafe { &mut *memory.as_mut_ptr().cast::<PolicyKey>() };
    (key.cgroup, key.address, key.port) = (7, [0; 16], 443);
    let policies = HashMap::<_, PolicyKey, u32>::try_from(map("policies")?)?;
    Ok(format!("{:?}", policies.get(key, 0)?))
}

fn unsigned() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Outcome {
        runs: u64,
        error: u64,
    }
    unsafe impl Pod for Outcome {}

    let results = HashMap::<_, u32, Outcome>::try_from(map("results")?)?;
    Ok(format!("{:?}", results.get(&0, 0)?))
}

fn grew() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Flow {
        packets: u64,
        bytes: u64,
        dropped: u64,
    }
    unsafe impl Pod for Flow {}

    upgraded::<Flow>("FIRST", "GREW")
}

fn reordered() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Flow {
        bytes: u64,
        packets: u64,
    }
    unsafe impl Pod for Flow {}

    upgraded::<Flow>("FIRST", "REORDERED")
}

fn shrank() -> Said {
    upgraded::<Flow>("WIDE", "FIRST")
}

/// The new version meets the pinned map of the old one.
fn upgraded<T: Pod + Debug>(before: &str, after: &str) -> Said {
    let _unpin = Unpin;
    let load = |version| {
        EbpfLoader::new().map_pin_path("flows", Path::new(PIN)).load_file(object(version))
    };
    run(&mut load(before)?, "count")?;
    let mut ebpf = load(after)?;
    std::fs::remove_file(PIN)?; // it may be too late for that below
    if let Err(error) = run(&mut ebpf, "count") {
        println!("the program: {error}");
    }
    let flows = Array::<_, T>::try_from(ebpf.map("flows").unwrap())?;
    Ok(format!("the map: {:?}", flows.get(&0, 0)?))
}

fn boolean() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Setting {
        limit: u32,
        enabled: bool,
        unused: [u8; 3],
    }
    unsafe impl Pod for Setting {}

    let settings = Array::<_, Setting>::try_from(map("settings")?)?;
    let setting = settings.get(&0, 0)?;
    Ok(format!("enabled is {}, as u8 = {}", setting.enabled, setting.enabled as u8))
}

fn hash_as_array() -> Said {
    let flows = Array::<_, Flow>::try_from(map("flows")?)?;
    Ok(format!("{} values", flows.iter().count()))
}

fn per_cpu_as_plain() -> Said {
    let flows = HashMap::<_, u32, Flow>::try_from(map("per_cpu_flows")?)?;
    Ok(format!("{:?}", flows.get(&0, 0)?))
}

fn per_cpu_of_another_width() -> Said {
    let hits = PerCpuArray::<_, u64>::try_from(map("hits")?)?;
    Ok(format!("{:?}", hits.get(&0, 0)?))
}

#[cfg(feature = "8a")]
fn delete_from_array(settings: &mut Array<MapData, u64>) {
    settings.remove(&0);
}

fn past_the_end() -> Said {
    let mut settings = Array::<_, u64>::try_from(map("settings")?)?;
    let (read, written) = (settings.get(&9, 0), settings.set(9, &0, 0));
    Ok(format!("get(9): {}; set(9): {}", read.unwrap_err(), written.unwrap_err()))
}

fn unreadable() -> Said {
    let mut counts = HashMap::<_, u32, u64>::create(1000, WRITE_ONLY)?;
    for key in 0..1000 {
        counts.insert(&key, &1, 0)?;
    }
    let entries: Vec<_> = counts.iter().collect::<Result<_, _>>()?;
    Ok(format!("{} of 1000 entries", entries.len()))
}

fn full() -> Said {
    let mut counts = HashMap::<_, u32, u64>::create(4, 0)?;
    for key in 0..5 {
        counts.insert(&key, &1, 0)?;
    }
    Ok("5 entries".into())
}

fn in_batches() -> Said {
    let [counts, _] = filled(100_000)?;
    let entries: Vec<_> = counts.iter().collect::<Result<_, _>>()?;
    Ok(format!("there are no batches; iter(): {} of 100000", entries.len()))
}

#[cfg(feature = "11b")]
fn expire_while_walking_one_handle(counts: &mut Counts) {
    for key in counts.keys() {
        counts.remove(&key.unwrap());
    }
}

fn expire_while_walking() -> Said {
    let [walked_map, mut changed] = filled(50_000)?;
    let keys = walked_map.keys().map(Result::unwrap).inspect(|key| {
        if key % 2 == 1 {
            changed.remove(key).unwrap();
        }
    });
    Ok(walked(50_000, 1_000_000, keys))
}

fn reset_while_walking() -> Said {
    let [walked_map, mut changed] = filled(50_000)?;
    let keys = walked_map.keys().map(Result::unwrap).inspect(|key| {
        changed.insert(key, &0, 0).unwrap();
    });
    Ok(walked(50_000, 1_000_000, keys))
}

fn longer_event() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Event {
        pid: u32,
        uid: u32,
    }

    events::<Event>()
}

fn swapped_event() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Event {
        uid: u32,
        pid: u32,
        started: u64,
    }

    events::<Event>()
}

fn events<E: Copy + Debug>() -> Said {
    let mut events = RingBuf::try_from(map("events")?)?;
    let mut got = Vec::new();
    while let Some(record) = events.next() {
        got.push(unsafe { record.as_ptr().cast::<E>().read_unaligned() });
    }
    Ok(format!("{got:?}"))
}

fn panic_at_an_event() -> Said {
    let mut events = RingBuf::try_from(map("events")?)?;
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _record = events.next();
        panic!("a bug in the code that handles events")
    }));
    let left = std::iter::from_fn(|| events.next().map(drop)).count();
    Ok(format!("caught: {}, then {left} event left", caught.is_err()))
}

/// A map of the loaded object, after its program has filled it.
fn map(name: &str) -> Result<Map, EbpfError> {
    let mut ebpf = Ebpf::load_file(object("compare"))?;
    run(&mut ebpf, "fill")?;
    Ok(ebpf.take_map(name).unwrap())
}

fn run(ebpf: &mut Ebpf, program: &str) -> Result<(), EbpfError> {
    let program: &mut Xdp = ebpf.program_mut(program).unwrap().try_into()?;
    program.load()?;
    let packet = TestRunOptions { data_in: Some(&PACKET), ..Default::default() };
    program.test_run(packet)?;
    Ok(())
}

type Counts = HashMap<MapData, u32, u64>;

/// Two handles on one map: aya does not let one be changed while it is walked.
fn filled(entries: u32) -> Result<[Counts; 2], Box<dyn Error>> {
    let map = map("counts")?;
    let Map::HashMap(data) = &map else { unreachable!("it is a hash") };
    let second = MapData::from_fd(data.fd().as_fd().try_clone_to_owned()?)?;
    let mut counts = HashMap::try_from(map)?;
    for key in 0..entries {
        counts.insert(&key, &1, 0)?;
    }
    Ok([counts, Map::from_map_data(second)?.try_into()?])
}
