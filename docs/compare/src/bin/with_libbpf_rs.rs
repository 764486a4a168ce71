//! The mistakes with libbpf-rs: values are bytes, and `plain`, which its documentation advises,
//! makes structs of them.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use compare::{PACKET, PIN, Said, Unpin, object, walked};
use libbpf_rs::{
    MapCore, MapFlags, MapHandle, MapType, Object, ObjectBuilder, ProgramInput, RingBufferBuilder,
};
use libbpf_sys::{BPF_F_WRONLY, bpf_map_create_opts};
use plain::Plain;

const ZERO: [u8; 4] = [0; 4];

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
        "7c" => per_cpu_taken_as_plain(),
        "7d" => per_cpu_of_another_width(),
        "8a" => delete_from_array(),
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
        _ => Ok("-".into()),
    });
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Flow {
    packets: u64,
    bytes: u64,
}
unsafe impl Plain for Flow {}

fn narrower() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Narrow {
        packets: u64,
        bytes: u32,
        mark: u32,
    }
    unsafe impl Plain for Narrow {}

    let value = map("flows")?.lookup(&ZERO, MapFlags::ANY)?.unwrap();
    Ok(format!("{:?}", read::<Narrow>(&value)))
}

fn swapped() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Swapped {
        bytes: u64,
        packets: u64,
    }
    unsafe impl Plain for Swapped {}

    let value = map("flows")?.lookup(&ZERO, MapFlags::ANY)?.unwrap();
    Ok(format!("{:?}", read::<Swapped>(&value)))
}

fn short_key() -> Said {
    let mut key = Vec::new(); // the fields, one behind the other
    key.extend(7_u64.to_ne_bytes());
    key.extend([0; 16]);
    key.extend(443_u32.to_ne_bytes());
    Ok(format!("{:?}", map("policies")?.lookup(&key, MapFlags::ANY)?))
}

fn dirty_key() -> Said {
    #[repr(C)]
    struct PolicyKey {
        cgroup: u64,
        address: [u8; 16],
        port: u32,
    }
    unsafe impl Plain for PolicyKey {}

    let mut memory = vec![0xff; size_of::<PolicyKey>()]; // that something else used before
    let key = plain::from_mut_bytes::<PolicyKey>(&mut memory).unwrap();
    *key = PolicyKey { cgroup: 7, address: [0; 16], port: 443 };
    Ok(format!("{:?}", map("policies")?.lookup(&memory, MapFlags::ANY)?))
}

fn unsigned() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Outcome {
        runs: u64,
        error: u64,
    }
    unsafe impl Plain for Outcome {}

    let value = map("results")?.lookup(&ZERO, MapFlags::ANY)?.unwrap();
    Ok(format!("{:?}", read::<Outcome>(&value)))
}

fn grew() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Flow {
        packets: u64,
        bytes: u64,
        dropped: u64,
    }
    unsafe impl Plain for Flow {}

    upgraded::<Flow>("FIRST", "GREW")
}

fn reordered() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Flow {
        bytes: u64,
        packets: u64,
    }
    unsafe impl Plain for Flow {}

    upgraded::<Flow>("FIRST", "REORDERED")
}

fn shrank() -> Said {
    upgraded::<Flow>("WIDE", "FIRST")
}

/// The new version meets the pinned map of the old one.
fn upgraded<T: Plain + Copy + Debug>(before: &str, after: &str) -> Said {
    let _unpin = Unpin;
    run(&mut load_pinned(before)?, "count")?;
    let mut object = load_pinned(after)?;
    run(&mut object, "count")?;
    let value = named(&object, "flows")?.lookup(&ZERO, MapFlags::ANY)?.unwrap();
    Ok(format!("{:?}", read::<T>(&value)))
}

fn load_pinned(version: &str) -> libbpf_rs::Result<Object> {
    let mut object = ObjectBuilder::default().open_file(self::object(version))?;
    let flows = object.maps_mut().find(|map| map.name() == "flows");
    flows.unwrap().set_pin_path(PIN)?;
    object.load()
}

fn boolean() -> Said {
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    struct Setting {
        limit: u32,
        enabled: bool,
        unused: [u8; 3],
    }
    unsafe impl Plain for Setting {}

    let value = map("settings")?.lookup(&ZERO, MapFlags::ANY)?.unwrap();
    let setting = read::<Setting>(&value)?;
    Ok(format!("enabled is {}, as u8 = {}", setting.enabled, setting.enabled as u8))
}

fn hash_as_array() -> Said {
    let flows = map("flows")?;
    let all =
        (0..flows.max_entries()).map(|index| flows.lookup(&index.to_ne_bytes(), MapFlags::ANY));
    let found = all.filter(|value| matches!(value, Ok(Some(_)))).count();
    Ok(format!("{found} of {} slots have a value", flows.max_entries()))
}

fn per_cpu_as_plain() -> Said {
    let value = map("per_cpu_flows")?.lookup(&ZERO, MapFlags::ANY)?.unwrap();
    Ok(format!("{:?}", read::<Flow>(&value)))
}

fn per_cpu_taken_as_plain() -> Said {
    let value = map("per_cpu_flows")?.lookup_and_delete(&ZERO)?.unwrap();
    let flow = read::<Flow>(&value)?;
    drop(value);
    let more: Vec<Vec<u8>> = (1..200).map(|n| vec![0; n]).collect(); // the program goes on
    Ok(format!("{flow:?} ({} allocations later)", more.len()))
}

fn per_cpu_of_another_width() -> Said {
    let cpus = map("hits")?.lookup_percpu(&ZERO, MapFlags::ANY)?.unwrap();
    let cpus: Result<Vec<_>, _> = cpus.iter().map(|value| read::<u64>(value)).collect();
    Ok(format!("{:?}", cpus?))
}

fn delete_from_array() -> Said {
    Ok(format!("{:?}", map("settings")?.delete(&ZERO)?))
}

fn past_the_end() -> Said {
    let settings = map("settings")?;
    let read = settings.lookup(&9_u32.to_ne_bytes(), MapFlags::ANY)?;
    let written = settings.update(&9_u32.to_ne_bytes(), &[0; 8], MapFlags::ANY);
    Ok(format!("lookup(9): {read:?}; update(9): {}", written.unwrap_err()))
}

fn unreadable() -> Said {
    let map = create(MapType::Hash, 1000, BPF_F_WRONLY)?;
    for key in 0..1000_u32 {
        map.update(&key.to_ne_bytes(), &[1; 8], MapFlags::ANY)?;
    }
    let lookup = map.lookup(&ZERO, MapFlags::ANY).unwrap_err();
    Ok(format!("keys(): {} of 1000 entries; lookup(0): {lookup}", map.keys().count()))
}

fn full() -> Said {
    let map = create(MapType::Hash, 4, 0)?;
    for key in 0..5_u32 {
        if let Err(error) = map.update(&key.to_ne_bytes(), &[1; 8], MapFlags::ANY) {
            return Ok(format!("Err: {error}; its kind is {:?}", error.kind()));
        }
    }
    Ok("5 entries".into())
}

fn in_batches() -> Said {
    let map = filled(100_000)?;
    let entries = map.lookup_batch(256, MapFlags::ANY, MapFlags::ANY)?.count();
    Ok(format!("lookup_batch(256): {entries} of 100000; keys(): {}", map.keys().count()))
}

fn expire_while_walking() -> Said {
    let map = filled(50_000)?;
    let keys = map.keys().map(|key| u32::from_ne_bytes(key.try_into().unwrap()));
    Ok(walked(
        50_000,
        1_000_000,
        keys.inspect(|key| {
            if key % 2 == 1 {
                map.delete(&key.to_ne_bytes()).unwrap();
            }
        }),
    ))
}

fn reset_while_walking() -> Said {
    let map = filled(50_000)?;
    let keys = map.keys().map(|key| u32::from_ne_bytes(key.try_into().unwrap()));
    Ok(walked(
        50_000,
        1_000_000,
        keys.inspect(|key| {
            map.update(&key.to_ne_bytes(), &[0; 8], MapFlags::ANY).unwrap();
        }),
    ))
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Event {
    pid: u32,
    uid: u32,
}
unsafe impl Plain for Event {}

fn longer_event() -> Said {
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
    unsafe impl Plain for Event {}

    events::<Event>()
}

fn events<E: Plain + Copy + Debug>() -> Said {
    let events = map("events")?;
    let mut got = Vec::new();
    let mut ring = RingBufferBuilder::new();
    ring.add(&events, |data| {
        got.push(read::<E>(data).expect("an event"));
        0
    })?;
    let ring = ring.build()?;
    ring.consume()?;
    drop(ring);
    Ok(format!("{got:?}"))
}

fn panic_at_an_event() -> Said {
    let events = map("events")?;
    let mut ring = RingBufferBuilder::new();
    ring.add(&events, |_| panic!("a bug in the code that handles events"))?;
    let ring = ring.build()?;
    let caught = catch_unwind(AssertUnwindSafe(|| ring.consume())).is_err();
    Ok(format!("caught: {caught}"))
}

/// What libbpf-cargo makes of the C types: no mistake for 1 to 4 to make.
fn generated() -> Said {
    use skeleton::types::{flow, policy_key, result, setting};

    let value =
        |name: &str| map(name).map(|map| map.lookup(&ZERO, MapFlags::ANY).unwrap().unwrap());
    let (flow, result) = (read::<flow>(&value("flows")?)?, read::<result>(&value("results")?)?);
    let key = policy_key { cgroup: 7, port: 443, ..Default::default() };
    let rule = map("policies")?.lookup(unsafe { plain::as_bytes(&key) }, MapFlags::ANY)?;
    let enabled = read::<setting>(&value("settings")?)?.enabled;
    let kind = std::any::type_name_of_val(&enabled);
    Ok(format!("{flow:?}, {result:?}, {key:?}: {}, enabled: {kind}", rule.is_some()))
}

unsafe impl Plain for skeleton::types::flow {}
unsafe impl Plain for skeleton::types::policy_key {}
unsafe impl Plain for skeleton::types::result {}
unsafe impl Plain for skeleton::types::setting {}

mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/compare.skel.rs"));
}

/// A map of the loaded object, after its program has filled it.
fn map(name: &str) -> libbpf_rs::Result<MapHandle> {
    let mut object = ObjectBuilder::default().open_file(object("compare"))?.load()?;
    run(&mut object, "fill")?;
    named(&object, name)
}

fn named(object: &Object, name: &str) -> libbpf_rs::Result<MapHandle> {
    MapHandle::try_from(&object.maps().find(|map| map.name() == name).unwrap())
}

fn run(object: &mut Object, program: &str) -> libbpf_rs::Result<()> {
    let program = object.progs_mut().find(|prog| prog.name() == program).unwrap();
    let packet = ProgramInput { data_in: Some(&PACKET), ..Default::default() };
    program.test_run(packet).map(drop)
}

fn read<T: Plain + Copy>(bytes: &[u8]) -> Result<T, String> {
    plain::from_bytes(bytes).copied().map_err(|error| format!("plain: {error:?}"))
}

fn create(kind: MapType, entries: u32, flags: u32) -> libbpf_rs::Result<MapHandle> {
    let sz = size_of::<bpf_map_create_opts>() as _;
    let options = bpf_map_create_opts { sz, map_flags: flags, ..Default::default() };
    MapHandle::create(kind, Some("counts"), 4, 8, entries, &options)
}

fn filled(entries: u32) -> libbpf_rs::Result<MapHandle> {
    let map = create(MapType::Hash, entries, 0)?;
    for key in 0..entries {
        map.update(&key.to_ne_bytes(), &[1; 8], MapFlags::ANY)?;
    }
    Ok(map)
}
