//! Counters that are read and reset while programs on every CPU count in them:
//! `Rates` (I6), `Swap` (I7) and `MappedArray::take` (I8) are exact; the ways
//! that everyone tries first are not.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{
    Array, Hash, MapKind, MappedArray, OpenError, PerCpu, PerCpuArray, PerCpuHash, Rates, RawMap,
    Swap, Swappable, Totals,
};
use libbpf_rs::Map;
use programs::{Health, Programs, await_for, two_cpus, while_on_each_cpu};
use support::pin_to;

const KEYS: u32 = 64;
/// Counts of one run of a program, and runs of one call.
const COUNTS: u64 = 16;
const RUNS: u64 = 500;
/// How long programs count in one test.
const TIME: Duration = Duration::from_millis(1000);

/// Runs `reset` over and over for `TIME` while programs count on every CPU;
/// how much they counted.
fn while_counting(programs: &Programs, program: &str, mut reset: impl FnMut()) -> u64 {
    let mut rounds = 0;
    let ((), counted) = while_on_each_cpu(
        |_| {
            assert_eq!(programs.repeat(program, &mut [0, 0], RUNS as u32), 0);
            RUNS * COUNTS
        },
        || {
            let end = Instant::now() + TIME;
            while Instant::now() < end {
                reset();
                rounds += 1;
            }
        },
    );
    assert_eq!(programs.health(), Health::default());
    let counted = counted.iter().sum();
    println!("{program}: {counted} counted, {rounds} rounds");
    counted
}

fn rates_are_exact<M>(program: &str, open: impl Fn(Map<'_>) -> M)
where
    M: Totals<Key = u32, Total = u64>,
{
    let programs = Programs::load("totals");
    let map = || open(programs.map(program.strip_prefix("count_").unwrap()));
    let mut rates = Rates::from_zero(map());
    let mut grown: HashMap<u32, u64> = HashMap::new();
    let mut tick = || {
        let tick = rates.tick().unwrap();
        assert!(tick.gone.is_empty());
        for rate in tick.rates {
            let sum = grown.entry(rate.key).or_insert(0);
            *sum += rate.delta;
            assert_eq!(*sum, rate.total, "differences of key {} and its total", rate.key);
        }
    };
    let counted = while_counting(&programs, program, &mut tick);
    tick();
    assert_eq!(grown.len(), KEYS as usize);
    assert_eq!(grown.values().sum::<u64>(), counted);
}

#[test]
fn i6_rates_of_a_hash_are_exact() {
    rates_are_exact("count_hash", |map| Hash::<u32, u64>::open(map).unwrap());
}

#[test]
fn i6_rates_of_a_per_cpu_hash_are_exact() {
    rates_are_exact("count_percpu_hash", |map| PerCpuHash::<u32, u64>::open(map).unwrap());
}

#[test]
fn i6_rates_of_an_array_are_exact() {
    rates_are_exact("count_array", |map| Array::<u64>::open(map).unwrap());
}

#[test]
fn i6_rates_of_a_per_cpu_array_are_exact() {
    rates_are_exact("count_percpu_array", |map| PerCpuArray::<u64>::open(map).unwrap());
}

/// A control that must be seen to be wrong, in one of ten tries.
fn must_be_off(mut off_by: impl FnMut() -> u64) {
    assert!((0..10).any(|_| off_by() > 0), "this way is wrong, and was not seen to be");
}

/// The control: read and write zero back is how a counter is reset at first sight.
#[test]
fn i6_control_lookup_and_update_to_zero_loses_counts() {
    must_be_off(|| {
        let programs = Programs::load("totals");
        let counts = Hash::<u32, u64>::open(programs.map("hash")).unwrap();
        let mut read = 0;
        let counted = while_counting(&programs, "count_hash", || {
            for key in 0..KEYS {
                if let Some(count) = counts.lookup(key).unwrap() {
                    counts.update(key, 0).unwrap();
                    read += count;
                }
            }
        });
        // A count that lands on another key may be read twice: either way.
        let off = counted.abs_diff(read + counts.sum().unwrap());
        println!("lookup and update(0): off by {off} of {counted}");
        off
    });
}

/// The control for per-CPU counters, which are overwritten in place.
#[test]
fn i6_control_writing_zeros_to_a_per_cpu_counter_loses_counts() {
    let zero = PerCpu::splat(0);
    must_be_off(|| {
        let programs = Programs::load("totals");
        let counts = PerCpuArray::<u64>::open(programs.map("percpu_array")).unwrap();
        let mut read = 0;
        let counted = while_counting(&programs, "count_percpu_array", || {
            for key in 0..KEYS {
                read += counts.sum_of(key).unwrap();
                counts.update(key, &zero).unwrap();
            }
        });
        let off = counted.abs_diff(read + counts.sum().unwrap());
        println!("writing zeros: off by {off} of {counted}");
        off
    });
}

fn swap_is_exact<M: Swappable>(
    program: &str,
    open: impl Fn(Map<'_>) -> M,
    second: M,
    sum: impl Fn(&M) -> u64,
) {
    let programs = Programs::load("totals");
    let outer = program.strip_prefix("count_").unwrap();
    let first = open(programs.map(&format!("{outer}_first")));
    let mut swap = Swap::open(programs.map(outer), first, second).unwrap();
    let mut read = 0;
    let counted = while_counting(&programs, program, || {
        let quiet = swap.swap().unwrap();
        let counts = sum(quiet);
        assert_eq!(sum(quiet), counts, "what was swapped out is quiet");
        read += counts;
    });
    read += sum(swap.swap().unwrap());
    assert_eq!(read, counted);
    assert_eq!(sum(swap.swap().unwrap()), 0, "nothing came after");
}

#[test]
fn i7_swap_of_hashes_loses_nothing() {
    let second = Hash::<u32, u64>::create("second", KEYS).unwrap();
    swap_is_exact("count_swap_hash", |m| Hash::open(m).unwrap(), second, |m| m.sum().unwrap());
}

#[test]
fn i7_swap_of_per_cpu_hashes_loses_nothing() {
    let second = PerCpuHash::<u32, u64>::create("second", KEYS).unwrap();
    swap_is_exact(
        "count_swap_percpu_hash",
        |m| PerCpuHash::open(m).unwrap(),
        second,
        |m| m.sum().unwrap(),
    );
}

#[test]
fn i7_swap_of_arrays_loses_nothing() {
    let second = Array::<u64>::create("second", KEYS).unwrap();
    swap_is_exact("count_swap_array", |m| Array::open(m).unwrap(), second, |m| m.sum().unwrap());
}

#[test]
fn i7_swap_of_per_cpu_arrays_loses_nothing() {
    let second = PerCpuArray::<u64>::create("second", KEYS).unwrap();
    swap_is_exact(
        "count_swap_percpu_array",
        |m| PerCpuArray::open(m).unwrap(),
        second,
        |m| m.sum().unwrap(),
    );
}

/// Runs `act` while a program holds a pointer into the active map. It adds one
/// when word 2 is set, which `act` must see to. Returns when both are over.
fn while_held<T: Send>(
    programs: &Programs,
    program: &str,
    cpus: [usize; 2],
    act: impl FnOnce() -> T + Send,
) -> T {
    let control = programs.control();
    thread::scope(|scope| {
        let holder = scope.spawn(|| {
            pin_to(cpus[1]);
            let most = Duration::from_secs(8).as_nanos() as u64;
            programs.repeat(program, &mut [most, 0], 1)
        });
        let actor = scope.spawn(|| {
            pin_to(cpus[0]);
            await_for("the program to look up", || control.load(1).unwrap() == 1);
            act()
        });
        assert_eq!(holder.join().unwrap(), 0, "the program waited in vain");
        actor.join().unwrap()
    })
}

#[test]
fn i7_swap_waits_for_the_program_that_still_counts_in_the_old_map() {
    let test = "i7_swap_waits_for_the_program_that_still_counts_in_the_old_map";
    let Some(cpus) = two_cpus(test) else { return };
    let programs = Programs::load("totals");
    let first = Array::<u64>::open(programs.map("swap_array_first")).unwrap();
    let second = Array::<u64>::create("second", KEYS).unwrap();
    let mut swap = Swap::open(programs.map("swap_array"), first, second).unwrap();
    let control = programs.control();
    let count = while_held(&programs, "hold_swapped", cpus, || {
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(200));
                control.store(2, 1).unwrap();
            });
            let start = Instant::now();
            let quiet = swap.swap().unwrap();
            assert_eq!(control.load(2).unwrap(), 1, "back while the program was still at it");
            println!("swap waited {:?}", start.elapsed());
            quiet.lookup(0).unwrap()
        })
    });
    assert_eq!(count, 1, "the increment that was under way is in what was swapped out");
}

/// The control: a word that says which of two maps is active, and no waiting.
#[test]
fn i7_control_turning_an_epoch_without_waiting_loses_the_increment_under_way() {
    let test = "i7_control_turning_an_epoch_without_waiting_loses_the_increment_under_way";
    let Some(cpus) = two_cpus(test) else { return };
    let programs = Programs::load("totals");
    let even = Array::<u64>::open(programs.map("even")).unwrap();
    let control = programs.control();
    let read = while_held(&programs, "hold_epoch", cpus, || {
        control.store(8, 1).unwrap();
        let read = even.lookup(0).unwrap();
        even.update(0, 0).unwrap();
        control.store(2, 1).unwrap();
        read
    });
    assert_eq!(read, 0, "it was not in yet");
    assert_eq!(even.lookup(0).unwrap(), 1, "it came to a map that nobody reads any more");
}

#[test]
fn i7_swap_refuses_what_it_cannot_swap() {
    let programs = Programs::load("totals");
    let outer = || programs.map("swap_hash");
    let hash = |entries| Hash::<u32, u64>::create("hash", entries).unwrap();
    let refused = |result: Result<Swap<Hash<u32, u64>>, OpenError>, words: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, OpenError::InvalidArgument { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    };

    match Swap::open(programs.map("hash"), hash(KEYS), hash(KEYS)) {
        Err(OpenError::Kind { expected: MapKind::ArrayOfMaps, found: MapKind::Hash, .. }) => {}
        other => panic!("{other:?}"),
    }
    let same = hash(KEYS);
    refused(Swap::open(outer(), same.clone(), same), "handles of one");
    refused(Swap::open_slot(outer(), 2, hash(KEYS), hash(KEYS)), "no slot 2");
    refused(Swap::open_slot(outer(), u32::MAX, hash(KEYS), hash(KEYS)), "no slot 4294967295");

    // Another shape than the program's: the value's size, the kind.
    let narrow = || Hash::<u32, u32>::create("narrow", KEYS).unwrap();
    let error = Swap::open(outer(), narrow(), narrow()).unwrap_err();
    assert!(error.to_string().contains("swap_hash"), "{error}");
    let array = || Array::<u64>::create("array", KEYS).unwrap();
    Swap::open(outer(), array(), array()).unwrap_err();
    // Programs have the length of an inner array in their code.
    let long = || Array::<u64>::create("long", KEYS * 2).unwrap();
    Swap::open(programs.map("swap_array"), long(), long()).unwrap_err();
}

/// A standby of the wrong shape is refused when it is opened, not at the first
/// swap, and the slot still holds what it held.
#[test]
fn i7_swap_refuses_a_standby_of_the_wrong_shape_at_once() {
    let programs = Programs::load("totals");
    let first = Array::<u64>::open(programs.map("swap_array_first")).unwrap();
    let long = Array::<u64>::create("long", KEYS * 2).unwrap();
    let error = Swap::open(programs.map("swap_array"), first.clone(), long).unwrap_err();
    assert!(matches!(error, OpenError::InvalidArgument { .. }), "{error:?}");
    assert_eq!(programs.repeat("count_swap_array", &mut [0, 0], 1), 0);
    assert_eq!(first.sum().unwrap(), COUNTS);
}

#[test]
fn i7_swap_in_another_slot_leaves_slot_0_alone() {
    let programs = Programs::load("totals");
    let first = Hash::<u32, u64>::open(programs.map("swap_hash_first")).unwrap();
    let hash = || Hash::<u32, u64>::create("hash", KEYS).unwrap();
    let mut swap = Swap::open_slot(programs.map("swap_hash"), 1, hash(), hash()).unwrap();
    let active = RawMap::open(swap.active()).unwrap().id();
    assert_eq!(programs.repeat("count_swap_hash", &mut [0, 0], 1), 0);
    assert_eq!(RawMap::open(swap.swap().unwrap()).unwrap().id(), active);
    assert_eq!(swap.swap().unwrap().sum().unwrap(), 0);
    assert_eq!(first.sum().unwrap(), COUNTS);
}

#[test]
fn i8_take_is_exact() {
    let programs = Programs::load("totals");
    let mapped = Array::<u64>::open(programs.map("mapped")).unwrap().mapped().unwrap();
    let take_all = || (0..KEYS).map(|key| mapped.take(key).unwrap()).sum::<u64>();
    let mut taken = 0;
    let counted = while_counting(&programs, "count_mapped", || taken += take_all());
    assert_eq!(taken + take_all(), counted);
    assert_eq!(mapped.sum(), 0);
}

#[test]
fn i8_take_of_32_bit_counters_is_exact() {
    let programs = Programs::load("totals");
    let mapped = Array::<u32>::open(programs.map("mapped_32")).unwrap().mapped().unwrap();
    let take_all = || (0..KEYS).map(|key| u64::from(mapped.take(key).unwrap())).sum::<u64>();
    let mut taken = 0;
    let counted = while_counting(&programs, "count_mapped_32", || taken += take_all());
    assert_eq!(taken + take_all(), counted);
}

#[test]
fn i8_control_load_and_store_zero_loses_counts() {
    let programs = Programs::load("totals");
    let mapped: MappedArray<u64> = Array::open(programs.map("mapped")).unwrap().mapped().unwrap();
    must_be_off(|| {
        let mut read = 0;
        let counted = while_counting(&programs, "count_mapped", || {
            for key in 0..KEYS {
                read += mapped.load(key).unwrap();
                mapped.store(key, 0).unwrap();
            }
        });
        read += (0..KEYS).map(|key| mapped.take(key).unwrap()).sum::<u64>();
        println!("load and store(0): {} of {counted} lost", counted - read);
        counted - read
    });
}
