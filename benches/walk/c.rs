//! libbpf called as a careful C programmer would, buffers reused; and libbpf-rs.

use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr;

use bpf_atlas::agent;
use libbpf_rs::{Iter, Link, MapCore, MapFlags, MapHandle, Object};

use super::support::{Error, compile};

/// The end, or an error.
fn is_end(ret: i32) -> Result<bool, Error> {
    match ret {
        0 => Ok(false),
        ret if ret == -libc::ENOENT => Ok(true),
        ret => Err(std::io::Error::from_raw_os_error(-ret).into()),
    }
}

/// The batch loop: 4,096 entries a call.
pub struct BatchLoop<'fd> {
    fd: BorrowedFd<'fd>,
    words: usize,
    batch: usize,
    keys: Vec<u32>,
    values: Vec<u64>,
}

impl<'fd> BatchLoop<'fd> {
    const BATCH: usize = 4096;

    /// Each value has so many words.
    pub fn new(fd: BorrowedFd<'fd>, words: usize) -> Self {
        Self::of(fd, words, Self::BATCH, Self::BATCH)
    }

    fn of(fd: BorrowedFd<'fd>, words: usize, batch: usize, room: usize) -> Self {
        Self { fd, words, batch, keys: vec![0; room], values: vec![0; room * words] }
    }

    /// One that keeps what it reads.
    pub fn keeping(fd: BorrowedFd<'fd>, words: usize, entries: u32) -> Self {
        Self::of(fd, words, Self::BATCH, entries as usize + Self::BATCH)
    }

    /// Adds the values up as they lie.
    pub fn sum(&mut self) -> Result<u64, Error> {
        let (mut sum, mut cursor, mut is_first) = (0_u64, [0_u32; 2], true);
        loop {
            let mut next = [0_u32; 2];
            let from = if is_first { ptr::null_mut() } else { cursor.as_mut_ptr() };
            let (count, end) = self.call(from, &mut next, 0)?;
            for value in &self.values[..count * self.words] {
                sum = sum.wrapping_add(*value);
            }
            if end {
                return Ok(sum);
            }
            (cursor, is_first) = (next, false);
        }
    }

    /// Reads all entries into memory; then their sum.
    pub fn keep(&mut self) -> Result<u64, Error> {
        let (mut cursor, mut is_first, mut at) = ([0_u32; 2], true, 0);
        loop {
            let mut next = [0_u32; 2];
            let from = if is_first { ptr::null_mut() } else { cursor.as_mut_ptr() };
            let (count, end) = self.call(from, &mut next, at)?;
            at += count;
            if end {
                break;
            }
            (cursor, is_first) = (next, false);
        }
        Ok(self.values[..at * self.words].iter().copied().fold(0, u64::wrapping_add))
    }

    #[inline(always)]
    fn call(
        &mut self,
        from: *mut u32,
        next: &mut [u32; 2],
        at: usize,
    ) -> Result<(usize, bool), Error> {
        let keys = &mut self.keys[at..][..self.batch];
        let values = &mut self.values[at * self.words..][..self.batch * self.words];
        let mut count = self.batch as u32;
        // SAFETY: keys are 4 bytes, values 8 bytes a CPU, and the buffers hold `count` of
        // each; a cursor takes 4 bytes, and `from` is null or one of 8.
        let ret = unsafe {
            libbpf_sys::bpf_map_lookup_batch(
                self.fd.as_raw_fd(),
                from.cast(),
                next.as_mut_ptr().cast(),
                keys.as_mut_ptr().cast(),
                values.as_mut_ptr().cast(),
                &mut count,
                ptr::null(),
            )
        };
        let end = is_end(ret)?;
        Ok((count as usize, end))
    }
}

/// `next_key`, then `lookup`.
pub fn by_key(fd: BorrowedFd<'_>, words: usize) -> Result<u64, Error> {
    let fd = fd.as_raw_fd();
    let mut value = vec![0_u64; words];
    let (mut key, mut sum, mut is_first) = (0_u32, 0_u64, true);
    loop {
        let mut next = 0_u32;
        let from = if is_first { ptr::null() } else { ptr::from_ref(&key) };
        // SAFETY: keys are 4 bytes.
        let ret = unsafe {
            libbpf_sys::bpf_map_get_next_key(fd, from.cast(), ptr::from_mut(&mut next).cast())
        };
        if is_end(ret)? {
            return Ok(sum);
        }
        (key, is_first) = (next, false);
        if lookup(fd, &key, &mut value)? {
            sum = value.iter().fold(sum, |sum, word| sum.wrapping_add(*word));
        }
    }
}

/// `bpf_map_lookup_elem` of a map with 4-byte keys and values as long as `value`.
#[inline(always)]
pub fn lookup(fd: i32, key: &u32, value: &mut [u64]) -> Result<bool, Error> {
    // SAFETY: keys are 4 bytes; the callers' values are as long as those of their maps.
    let ret = unsafe {
        libbpf_sys::bpf_map_lookup_elem(fd, ptr::from_ref(key).cast(), value.as_mut_ptr().cast())
    };
    Ok(!is_end(ret)?)
}

/// `bpf_map_update_elem` of `u32 → u64`.
#[inline(always)]
pub fn update(fd: i32, key: &u32, value: &u64) -> Result<(), Error> {
    let (key, value) = (ptr::from_ref(key).cast(), ptr::from_ref(value).cast());
    // SAFETY: the map's keys are 4 bytes and its values 8.
    is_end(unsafe { libbpf_sys::bpf_map_update_elem(fd, key, value, 0) }).map(drop)
}

/// `bpf_map_delete_elem` of 4-byte keys.
#[inline(always)]
pub fn delete(fd: i32, key: &u32) -> Result<(), Error> {
    // SAFETY: the map's keys are 4 bytes.
    let ret = unsafe { libbpf_sys::bpf_map_delete_elem(fd, ptr::from_ref(key).cast()) };
    is_end(ret).map(drop)
}

/// One `bpf_map_update_batch` of all.
pub fn update_batch(fd: i32, keys: &[u32], values: &[u64]) -> Result<u64, Error> {
    let mut count = keys.len() as u32;
    assert_eq!(keys.len(), values.len());
    // SAFETY: keys are 4 bytes, values 8, and there are `count` of each.
    let ret = unsafe {
        libbpf_sys::bpf_map_update_batch(
            fd,
            keys.as_ptr().cast(),
            values.as_ptr().cast(),
            &mut count,
            ptr::null(),
        )
    };
    is_end(ret)?;
    Ok(count.into())
}

pub fn libbpf_rs(map: &MapHandle, is_per_cpu: bool) -> Result<u64, Error> {
    let word = |value: Vec<u8>| Ok::<_, Error>(u64::from_ne_bytes(value[..8].try_into()?));
    let mut sum = 0_u64;
    for key in map.keys() {
        if is_per_cpu {
            for value in map.lookup_percpu(&key, MapFlags::ANY)?.into_iter().flatten() {
                sum = sum.wrapping_add(word(value)?);
            }
        } else if let Some(value) = map.lookup(&key, MapFlags::ANY)? {
            sum = sum.wrapping_add(word(value)?);
        }
    }
    Ok(sum)
}

/// The programs that write a map into a seq file.
pub struct Dumps(Object);

impl Dumps {
    /// Of a file that is compiled already, or of `benches/bpf`.
    pub fn load(compiled: Option<&Path>, cpus: usize) -> Result<Self, Error> {
        let file = compiled.map_or_else(|| compile("walk"), |file| Ok(file.into()))?;
        let mut object = agent::open_file(file)?;
        let mut rodata =
            object.maps_mut().find(|map| map.name().to_string_lossy().ends_with(".rodata"));
        let rodata = rodata.as_mut().and_then(|map| map.initial_value_mut());
        let rodata = rodata.and_then(|bytes| bytes.get_mut(..4)).ok_or("no constant `cpus`")?;
        rodata.copy_from_slice(&(cpus as u32).to_ne_bytes());
        Ok(Self(agent::load(object)?))
    }

    /// Attached to a map.
    pub fn attach(&self, map: BorrowedFd<'_>, is_per_cpu: bool) -> Result<Dump, Error> {
        let wanted = if is_per_cpu { "dump_cpus" } else { "dump" };
        let mut program = self.0.progs_mut().find(|program| program.name() == wanted);
        let program = program.as_mut().ok_or("no such program")?;
        Ok(Dump { link: program.attach_iter(map)?, buffer: vec![0; 64 << 10] })
    }
}

pub struct Dump {
    link: Link,
    buffer: Vec<u8>,
}

impl Dump {
    pub fn sum(&mut self) -> Result<u64, Error> {
        let mut file = Iter::new(&self.link)?;
        let mut sum = 0_u64;
        loop {
            let len = match file.read(&mut self.buffer) {
                // The kernel pauses after a million elements.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                result => result?,
            };
            if len == 0 {
                return Ok(sum);
            }
            for entry in self.buffer[..len].chunks_exact(16) {
                let value: [u8; 8] = entry[8..].try_into()?;
                sum = sum.wrapping_add(u64::from_ne_bytes(value));
            }
        }
    }
}
