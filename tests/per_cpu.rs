//! Per-CPU values that programs write on each CPU come back in the slot of that
//! CPU, whatever their size.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::fs;

use bpf_atlas::{LruPerCpuHash, PerCpu, PerCpuArray, PerCpuHash};
use programs::{Programs, on_cpus, set_value_size};
use support::allowed_cpus;

/// CPUs in the kernel's notation, `0-3,8`.
fn listed(which: &str) -> Vec<usize> {
    let list = fs::read_to_string(format!("/sys/devices/system/cpu/{which}")).unwrap();
    let ranges = list.trim().split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    });
    ranges.collect()
}

/// A slot for each CPU that may ever be: also one that is not there now.
fn possible() -> usize {
    let possible = listed("possible");
    possible.last().unwrap() + 1
}

/// What a program writes: it depends on the key, the CPU and the byte.
fn written<const N: usize>(key: u32, cpu: usize) -> [u8; N] {
    std::array::from_fn(|at| seed(key, cpu).wrapping_add(at as u64) as u8)
}

fn seed(key: u32, cpu: usize) -> u64 {
    1 + u64::from(key) * 31 + cpu as u64 * 97
}

/// Each slot that a program wrote has its bytes; the others are zero.
fn check<const N: usize>(map: &str, key: u32, values: &PerCpu<[u8; N]>, cpus: &[usize]) {
    assert_eq!(values.len(), possible(), "{map}");
    for (cpu, value) in values.iter().enumerate() {
        let expected = if cpus.contains(&cpu) { written(key, cpu) } else { [0; N] };
        assert_eq!(*value, expected, "{map}, values of {N} bytes, key {key}, CPU {cpu}");
    }
}

/// Values of `N` bytes in all three kinds.
fn come_back<const N: usize>() {
    let programs = Programs::load_with("per_cpu", |object| {
        for map in ["hash", "lru", "array"] {
            set_value_size(object, map, N as u32);
        }
    });
    let cpus = allowed_cpus();
    on_cpus(&cpus, |_, cpu| {
        for key in 0..4 {
            for program in ["write_hash", "write_lru", "write_array"] {
                let mut args = [cpu as u64, u64::from(key), seed(key, cpu)];
                assert_eq!(programs.call(program, &mut args), 0, "{program} on CPU {cpu}");
            }
        }
    });
    let hash = PerCpuHash::<u32, [u8; N]>::open(programs.map("hash")).unwrap();
    let lru = LruPerCpuHash::<u32, [u8; N]>::open(programs.map("lru")).unwrap();
    let array = PerCpuArray::<[u8; N]>::open(programs.map("array")).unwrap();
    for key in 0..4 {
        check("hash", key, &hash.lookup(key).unwrap().unwrap(), &cpus);
        check("lru", key, &lru.lookup(key).unwrap().unwrap(), &cpus);
        check("array", key, &array.lookup(key).unwrap(), &cpus);
    }
    let mut walked = 0;
    for entry in hash.iter().chain(lru.iter()).chain(array.iter()) {
        let (key, values) = entry.unwrap();
        check("a walk", key, &values, &cpus);
        walked += 1;
    }
    assert_eq!(walked, 12);
    for key in 0..4 {
        check("hash", key, &hash.take(key).unwrap().unwrap(), &cpus);
    }
    assert_eq!(hash.count().unwrap(), 0);
    for entry in lru.drain() {
        let (key, values) = entry.unwrap();
        check("a drain", key, &values, &cpus);
    }
    assert_eq!(lru.count().unwrap(), 0);
}

macro_rules! sizes {
    ($($bytes:literal)*) => { $(come_back::<$bytes>();)* };
}

#[test]
fn i5_what_a_program_writes_on_a_cpu_comes_back_in_the_slot_of_that_cpu() {
    sizes!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 60 64);
}

/// A key that a program made on one CPU is zero on the others.
#[test]
fn i5_a_key_written_on_one_cpu_is_zero_on_the_others() {
    let programs = Programs::load_with("per_cpu", |object| set_value_size(object, "hash", 12));
    let hash = PerCpuHash::<u32, [u8; 12]>::open(programs.map("hash")).unwrap();
    for (key, &cpu) in allowed_cpus().iter().enumerate() {
        let key = key as u32;
        // Elements are used again: what an earlier key had there is gone.
        hash.update(key, &PerCpu::splat([0xff; 12])).unwrap();
        assert!(hash.delete(key).unwrap());
        on_cpus(&[cpu], |_, _| {
            let mut args = [cpu as u64, u64::from(key), seed(key, cpu)];
            assert_eq!(programs.call("write_hash", &mut args), 0);
        });
        check("hash", key, &hash.lookup(key).unwrap().unwrap(), &[cpu]);
    }
}

#[test]
fn i5_the_sum_over_cpus_wraps_as_the_counters_do() {
    let programs = Programs::load("per_cpu");
    let counter = PerCpuArray::<u64>::open(programs.map("counter")).unwrap();
    let counters = PerCpuHash::<u32, u64>::open(programs.map("counters")).unwrap();
    let cpus = allowed_cpus();
    let add = |n: u64| {
        on_cpus(&cpus, |_, cpu| {
            assert_eq!(programs.call("add", &mut [cpu as u64, 0, n]), 0);
        });
    };
    add(u64::MAX - 2);
    let sum = (u64::MAX - 2).wrapping_mul(cpus.len() as u64);
    assert_eq!(counter.sum_of(0).unwrap(), sum);
    assert_eq!(counters.sum_of(0).unwrap(), Some(sum));
    // The slot itself wraps in the kernel: -3 + 10.
    add(10);
    for &cpu in &cpus {
        assert_eq!(counter.lookup(0).unwrap()[cpu], 7);
        assert_eq!(counters.lookup(0).unwrap().unwrap()[cpu], 7);
    }
    assert_eq!(counter.sum().unwrap(), 7 * cpus.len() as u64);
    assert_eq!(counters.sums().next().unwrap().unwrap(), (0, 7 * cpus.len() as u64));
}

#[test]
fn i5_a_per_cpu_value_has_a_slot_for_each_possible_cpu() {
    let (possible, online) = (listed("possible"), listed("online"));
    println!("{} CPUs possible, {} online", possible.len(), online.len());
    let array = PerCpuArray::<u64>::create("slots", 1).unwrap();
    assert_eq!(array.lookup(0).unwrap().len(), possible.len());
    assert_eq!(PerCpu::splat(0_u64).len(), possible.len());
    // What is in the slot of a CPU that is not online counts in the sum.
    array.update(0, &PerCpu::splat(1)).unwrap();
    assert_eq!(array.sum().unwrap(), possible.len() as u64);
    assert_eq!(array.sum_of(0).unwrap(), possible.len() as u64);
    assert_eq!(array.lookup(0).unwrap().sum(), possible.len() as u64);
}
