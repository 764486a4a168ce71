//! The mistakes with bpf-atlas.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bpf_atlas::agent::{self, Attached, LoadError};
use bpf_atlas::{Array, CreateFlags, Hash, PerCpuArray, PerCpuHash, Pod, RawMap, RingBuf};
use compare::{PACKET, PIN, Said, Unpin, object, walked};
use libbpf_rs::{Object, ProgramInput};

/// The modules that bpf-atlas-build generates.
macro_rules! module {
    ($name:ident, $file:literal) => {
        mod $name {
            include!(concat!(env!("OUT_DIR"), "/modules/", $file, ".rs"));
        }
    };
}
module!(compared, "compare");
module!(first, "FIRST");
module!(grew, "GREW");
module!(reordered, "REORDERED");

/// A generated module loads its own version on the pinned map of the one before.
macro_rules! upgraded_to {
    ($module:ident, $before:literal $(, $asked:ident)?) => {{
        let _unpin = Unpin;
        run(&mut load_pinned($before)?, "count")?;
        let mut open = $module::open()?;
        open.maps.flows.set_pin_path(PIN);
        $(open.$asked();)?
        let loaded = open.load()?;
        Ok(format!("{:?}", loaded.maps.flows.lookup(0)?))
    }};
}

fn main() {
    compare::make(|mistake| match mistake {
        "1" => narrower(),
        "1, no BTF" => narrower_without_btf(),
        "1, pinned" => narrower_pinned(),
        "2" => swapped(),
        "3a" => short_key(),
        "4" => unsigned(),
        "5a" => grew(),
        "5b" => reordered(),
        "5c" => shrank(),
        "7a" => hash_as_array(),
        "7b" => per_cpu_as_plain(),
        "7c" => per_cpu_taken(),
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
        "generated" => generated(),
        "generated, 5a" => upgraded_to!(grew, "FIRST"),
        "generated, 5b" => upgraded_to!(reordered, "FIRST"),
        "generated, 5b, required" => upgraded_to!(reordered, "FIRST", require_proof),
        "generated, 5c" => upgraded_to!(first, "WIDE"),
        _ => Ok("-".into()),
    });
}

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct Flow {
    packets: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct Narrow {
    packets: u64,
    bytes: u32,
    mark: u32,
}

fn narrower() -> Said {
    let flows = Hash::<u32, Narrow>::open(map("flows")?)?;
    Ok(format!("{:?}, proof {:?}", flows.lookup(0)?, flows.proof()))
}

fn narrower_without_btf() -> Said {
    let made = Hash::<u32, Flow>::create("flows", 16)?;
    made.update(0, Flow { packets: 3, bytes: 0x1_0000_0004 })?;
    let flows = Hash::<u32, Narrow>::open(&made)?;
    Ok(format!("{:?}, proof {:?}", flows.lookup(0)?, flows.proof()))
}

fn narrower_pinned() -> Said {
    let _unpin = Unpin;
    run(&mut load_pinned("FIRST")?, "count")?;
    let flows = Array::<Narrow>::open_pinned(PIN)?;
    Ok(format!("{:?}, proof {:?}", flows.lookup(0)?, flows.proof()))
}

fn swapped() -> Said {
    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    struct Swapped {
        bytes: u64,
        packets: u64,
    }

    let flows = Hash::<u32, Swapped>::open(map("flows")?)?;
    Ok(format!("{:?}", flows.lookup(0)?))
}

fn short_key() -> Said {
    #[derive(Clone, Copy, Pod)]
    #[repr(C, packed)]
    struct PolicyKey {
        cgroup: u64,
        address: [u8; 16],
        port: u32,
    }

    let policies = Hash::<PolicyKey, u32>::open(map("policies")?)?;
    let key = PolicyKey { cgroup: 7, address: [0; 16], port: 443 };
    Ok(format!("{:?}", policies.lookup(key)?))
}

#[cfg(feature = "3b")]
#[derive(Clone, Copy, Pod)]
#[repr(C)]
struct PolicyKey {
    cgroup: u64,
    address: [u8; 16],
    port: u32,
}

fn unsigned() -> Said {
    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    struct Outcome {
        runs: u64,
        error: u64,
    }

    let results = Hash::<u32, Outcome>::open(map("results")?)?;
    Ok(format!("{:?}", results.lookup(0)?))
}

fn grew() -> Said {
    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    struct Flow {
        packets: u64,
        bytes: u64,
        dropped: u64,
    }

    upgraded::<Flow>("FIRST", "GREW")
}

fn reordered() -> Said {
    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    struct Flow {
        bytes: u64,
        packets: u64,
    }

    upgraded::<Flow>("FIRST", "REORDERED")
}

fn shrank() -> Said {
    upgraded::<Flow>("WIDE", "FIRST")
}

/// The new version meets the pinned map of the old one.
fn upgraded<T: Pod + Debug>(before: &str, after: &str) -> Said {
    let _unpin = Unpin;
    run(&mut load_pinned(before)?, "count")?;
    if let Err(error) = load_pinned(after).and_then(|mut object| run(&mut object, "count")) {
        println!("the loader: {error}");
    }
    let flows = Array::<T>::open_pinned(PIN)?;
    Ok(format!("the map: {:?}", flows.lookup(0)?))
}

fn load_pinned(version: &str) -> Result<Object, LoadError> {
    let mut object = agent::open_file(object(version))?;
    let flows = object.maps_mut().find(|map| map.name() == "flows");
    agent::quietly("pinning", || flows.unwrap().set_pin_path(PIN))?;
    agent::load(object)
}

#[cfg(feature = "6")]
#[derive(Clone, Copy, Pod)]
#[repr(C)]
struct Setting {
    limit: u32,
    enabled: bool,
    unused: [u8; 3],
}

fn hash_as_array() -> Said {
    let flows = Array::<Flow>::open(map("flows")?)?;
    Ok(format!("{} values", flows.count()?))
}

fn per_cpu_as_plain() -> Said {
    let flows = Hash::<u32, Flow>::open(map("per_cpu_flows")?)?;
    Ok(format!("{:?}", flows.lookup(0)?))
}

fn per_cpu_taken() -> Said {
    let flows = PerCpuHash::<u32, Flow>::open(map("per_cpu_flows")?)?;
    Ok(format!("{:?}", flows.take(0)?))
}

fn per_cpu_of_another_width() -> Said {
    let hits = PerCpuArray::<u64>::open(map("hits")?)?;
    Ok(format!("{:?}", hits.lookup(0)?))
}

#[cfg(feature = "8a")]
fn delete_from_array(settings: &Array<u64>) {
    settings.delete(0);
}

fn past_the_end() -> Said {
    let slots = Array::<u64>::create("slots", 4)?;
    let (read, written) = (slots.lookup(9), slots.update(9, 0));
    Ok(format!("lookup(9): {}; update(9): {}", read.unwrap_err(), written.unwrap_err()))
}

fn unreadable() -> Said {
    let counts = Hash::<u32, u64>::create_with("counts", 1000, CreateFlags::WRONLY)?;
    counts.update_all((0..1000).map(|key| (key, 1)))?;
    let entries: Vec<_> = counts.iter().collect::<Result<_, _>>()?;
    Ok(format!("{} of 1000 entries", entries.len()))
}

fn full() -> Said {
    let counts = Hash::<u32, u64>::create("counts", 4)?;
    for key in 0..5 {
        counts.update(key, 1)?;
    }
    Ok("5 entries".into())
}

fn in_batches() -> Said {
    let counts = filled(100_000)?.with_batch_size(256)?;
    let entries: Vec<_> = counts.iter().collect::<Result<_, _>>()?;
    Ok(format!("{} of 100000 entries", entries.len()))
}

fn expire_while_walking() -> Said {
    let counts = filled(50_000)?;
    let keys = counts.keys().map(Result::unwrap).inspect(|key| {
        if key % 2 == 1 {
            counts.delete(key).unwrap();
        }
    });
    Ok(walked(50_000, 1_000_000, keys))
}

fn reset_while_walking() -> Said {
    let counts = filled(50_000)?;
    let keys = counts.keys().map(Result::unwrap).inspect(|key| {
        counts.update(key, 0).unwrap();
    });
    Ok(walked(50_000, 1_000_000, keys))
}

fn longer_event() -> Said {
    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    struct Event {
        pid: u32,
        uid: u32,
    }

    events::<Event>()
}

fn swapped_event() -> Said {
    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    struct Event {
        uid: u32,
        pid: u32,
        started: u64,
    }

    events::<Event>()
}

fn events<E: Pod + Debug>() -> Said {
    let mut events = RingBuf::<E>::open(map("events")?)?;
    let mut got = Vec::new();
    while let Some(event) = events.next()? {
        got.push(*event);
    }
    Ok(format!("{got:?}"))
}

fn panic_at_an_event() -> Said {
    let mut events = RingBuf::<[u8; 16]>::open(map("events")?)?;
    let caught = catch_unwind(AssertUnwindSafe(|| {
        events.drain(|_| panic!("a bug in the code that handles events"))
    }));
    let left = events.drain(|_| ())?;
    Ok(format!("caught: {}, then {left} event left", caught.is_err()))
}

/// What bpf-atlas-build makes of the C types: no mistake for 1 to 4, 6 and 12 to make.
fn generated() -> Said {
    use compared::PolicyKey;

    let mut loaded = compared::open()?.load()?;
    let packet = ProgramInput { data_in: Some(&PACKET), ..Default::default() };
    loaded.progs().fill().libbpf(|fill| fill.test_run(packet).map(drop))?;
    let maps = &mut loaded.maps;
    let (flow, result) = (maps.flows.lookup(0)?, maps.results.lookup(0)?);
    let key = PolicyKey { cgroup: 7, port: 443, ..Default::default() };
    let rule = maps.policies.lookup(key)?;
    let setting = maps.settings.lookup(0)?;
    let event = maps.events.next()?.map(|event| *event);
    let proof = maps.flows.proof();
    Ok(format!(
        "{flow:?}, {result:?}, {key:?}: {}, {setting:?}, {event:?}, proof {proof:?}",
        rule.is_some()
    ))
}

/// A map of the loaded object, after its program has filled it.
fn map(name: &str) -> Result<RawMap, Box<dyn std::error::Error>> {
    let mut object = agent::load(agent::open_file(object("compare"))?)?;
    run(&mut object, "fill")?;
    Ok(Attached::new(&object)?.map(name)?.clone())
}

fn run(object: &mut Object, program: &str) -> Result<(), LoadError> {
    let program = object.progs_mut().find(|prog| prog.name() == program).unwrap();
    let packet = ProgramInput { data_in: Some(&PACKET), ..Default::default() };
    agent::quietly("running", || program.test_run(packet).map(drop))
}

fn filled(entries: u32) -> Result<Hash<u32, u64>, Box<dyn std::error::Error>> {
    let counts = Hash::create("counts", entries)?;
    counts.update_all((0..entries).map(|key| (key, 1)))?;
    Ok(counts)
}
