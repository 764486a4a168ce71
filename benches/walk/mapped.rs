//! An array's memory, mapped.

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr;

use bpf_atlas::{Array, CreateFlags};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::Error;
use super::measure::{Case, Report, Task};

pub fn run(report: &mut Report, most: u32) -> Result<(), Error> {
    for entries in [1000, 10_000, 100_000, 1_000_000] {
        if entries > most {
            break;
        }
        let array = Array::<u64>::create_with("bench", entries, CreateFlags::MMAPABLE)?;
        array.update_all((0..entries).map(|index| (index, u64::from(index))))?;
        let bytes = NonZeroUsize::new((entries as usize * 8).next_multiple_of(4096));
        let bytes = bytes.ok_or("an empty array")?;
        // SAFETY: a new mapping at an address of the kernel's choosing.
        let start = unsafe {
            mmap(None, bytes, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, array.as_fd(), 0)?
        };
        let from = start.cast::<u64>().as_ptr().cast_const();
        let mapped = array.mapped()?;
        let mut cases = [
            Case::new("C, volatile", || {
                let mut sum = 0_u64;
                for at in 0..entries as usize {
                    // SAFETY: the mapping has `entries` words, and nobody writes here.
                    sum = sum.wrapping_add(unsafe { ptr::read_volatile(from.add(at)) });
                }
                Ok(sum)
            }),
            Case::new("C, plain: a data race", || {
                let mut sum = 0_u64;
                for at in 0..entries as usize {
                    // SAFETY: as above.
                    sum = sum.wrapping_add(unsafe { ptr::read(from.add(at)) });
                }
                Ok(std::hint::black_box(sum))
            }),
            Case::new("`sum`", || Ok(mapped.sum())),
            Case::new("`iter().sum()`", || Ok(mapped.iter().sum())),
            Case::new("`load` of each", || {
                let mut sum = 0_u64;
                for index in 0..entries {
                    sum = sum.wrapping_add(mapped.load(index)?);
                }
                Ok(sum)
            }),
        ];
        let what = format!("{entries} values");
        let (runs, expected) = (4_000_000 / entries, (0..u64::from(entries)).sum());
        let table = "MappedArray: ns a value";
        let task = Task { table, what: &what, divisor: entries, runs, settled: None, expected };
        let result = report.measure(&task, &mut cases);
        // SAFETY: it is the mapping made above; the cases that read it do no more.
        unsafe { munmap(start, bytes.get())? };
        result?;
    }
    Ok(())
}
