//! The readers: this crate, libbpf called as C would, libbpf-rs.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use bpf_atlas::{RingBuf, WakeUp};
use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};
use libbpf_sys::size_t;
use libc::{c_int, c_void};

use super::Error;
use super::fill::{Drain, Filled, Total};
use super::kernel::Maps;
use super::live::{Course, Event, LOOK_EVERY, Live, NO_WAKEUP, Named, Seen, Sink};

/// What a reader on a timer sleeps.
const TIMER: Duration = Duration::from_millis(1);

/// The first is what the others are compared with.
pub fn filled<const N: usize, const ALL: bool>() -> Vec<Filled> {
    vec![
        Filled { name: "libbpf, C", open: |map| Ok(Box::new(FromC::<N, ALL>::new(map)?)) },
        Filled {
            name: "bpf-atlas `drain`",
            open: |map| Ok(Box::new(Drained::<N, ALL>(RingBuf::open(map)?))),
        },
        Filled {
            name: "bpf-atlas `next`",
            open: |map| Ok(Box::new(Next::<N, ALL>(RingBuf::open(map)?))),
        },
        Filled { name: "libbpf-rs", open: |map| Ok(Box::new(FromLibbpfRs::new::<N, ALL>(map)?)) },
    ]
}

struct Drained<const N: usize, const ALL: bool>(RingBuf<[u64; N]>);

impl<const N: usize, const ALL: bool> Drain for Drained<N, ALL> {
    fn drain(&mut self) -> Result<Total, Error> {
        let mut total = Total::default();
        self.0.drain(|record| total.add::<N, ALL>(record))?;
        Ok(total)
    }
}

struct Next<const N: usize, const ALL: bool>(RingBuf<[u64; N]>);

impl<const N: usize, const ALL: bool> Drain for Next<N, ALL> {
    fn drain(&mut self) -> Result<Total, Error> {
        let mut total = Total::default();
        while let Some(record) = self.0.next()? {
            total.add::<N, ALL>(&record);
        }
        Ok(total)
    }
}

/// libbpf's reader.
struct CRing(NonNull<libbpf_sys::ring_buffer>);

impl CRing {
    /// # Safety
    /// `ctx` is what `take` takes, for as long as the reader lives.
    unsafe fn new(
        map: &MapHandle,
        take: unsafe extern "C" fn(*mut c_void, *mut c_void, size_t) -> c_int,
        ctx: *mut c_void,
    ) -> Result<Self, Error> {
        let fd = map.as_fd().as_raw_fd();
        // SAFETY: the descriptor is a ring's; libbpf duplicates nothing but maps its pages.
        let ring = unsafe { libbpf_sys::ring_buffer__new(fd, Some(take), ctx, std::ptr::null()) };
        NonNull::new(ring).map(Self).ok_or_else(|| std::io::Error::last_os_error().into())
    }

    fn consume(&self) -> Result<(), Error> {
        // SAFETY: the reader is open, and `new` was promised the rest.
        Self::checked(unsafe { libbpf_sys::ring_buffer__consume(self.0.as_ptr()) })
    }

    fn poll(&self, timeout: Duration) -> Result<(), Error> {
        let ms = timeout.as_millis() as c_int;
        // SAFETY: as above.
        Self::checked(unsafe { libbpf_sys::ring_buffer__poll(self.0.as_ptr(), ms) })
    }

    fn checked(ret: c_int) -> Result<(), Error> {
        if ret >= 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(-ret).into()) }
    }
}

impl Drop for CRing {
    fn drop(&mut self) {
        // SAFETY: it is open, and nothing uses it any more.
        unsafe { libbpf_sys::ring_buffer__free(self.0.as_ptr()) };
    }
}

struct FromC<const N: usize, const ALL: bool> {
    ring: CRing,
    total: Box<std::cell::UnsafeCell<Total>>,
}

impl<const N: usize, const ALL: bool> FromC<N, ALL> {
    fn new(map: &MapHandle) -> Result<Self, Error> {
        let total = Box::new(std::cell::UnsafeCell::new(Total::default()));
        // SAFETY: the total's address stays, and goes after the reader.
        let ring = unsafe { CRing::new(map, take_record::<N, ALL>, total.get().cast())? };
        Ok(Self { ring, total })
    }
}

impl<const N: usize, const ALL: bool> Drain for FromC<N, ALL> {
    fn drain(&mut self) -> Result<Total, Error> {
        self.ring.consume()?;
        Ok(*self.total.get_mut())
    }
}

/// What a careful C programmer writes: looks at the length, then reads the struct in place.
unsafe extern "C" fn take_record<const N: usize, const ALL: bool>(
    total: *mut c_void,
    data: *mut c_void,
    len: size_t,
) -> c_int {
    if (len as usize) < size_of::<[u64; N]>() {
        return -libc::EINVAL;
    }
    // SAFETY: `total` is a Total that nobody else uses while the reader consumes;
    // the record is so long, aligned to 8, and not written while it is not consumed.
    let (total, record) = unsafe { (&mut *total.cast::<Total>(), &*data.cast::<[u64; N]>()) };
    total.add::<N, ALL>(record);
    0
}

/// The record that starts with these bytes, if they suffice.
#[inline(always)]
pub fn words<const N: usize>(bytes: &[u8]) -> Option<&[u64; N]> {
    // SAFETY: so long, and records of a ring are aligned to 8.
    (bytes.len() >= size_of::<[u64; N]>()).then(|| unsafe { &*bytes.as_ptr().cast() })
}

struct FromLibbpfRs<'m> {
    ring: RingBuffer<'m>,
    total: Rc<RefCell<Total>>,
}

impl<'m> FromLibbpfRs<'m> {
    fn new<const N: usize, const ALL: bool>(map: &'m MapHandle) -> Result<Self, Error> {
        let total = Rc::new(RefCell::new(Total::default()));
        let into = Rc::as_ptr(&total);
        let mut builder = RingBufferBuilder::new();
        builder.add(map, move |bytes| {
            let Some(record) = words::<N>(bytes) else { return -libc::EINVAL };
            // SAFETY: `total` lives as long as the reader, and nothing borrows it
            // while the reader consumes.
            unsafe { &mut *(*into).as_ptr() }.add::<N, ALL>(record);
            0
        })?;
        Ok(Self { ring: builder.build()?, total })
    }
}

impl Drain for FromLibbpfRs<'_> {
    fn drain(&mut self) -> Result<Total, Error> {
        self.ring.consume()?;
        Ok(*self.total.borrow())
    }
}

/// What the others are compared with.
pub const BASE: &str = "libbpf-rs";

pub fn live() -> Vec<Live> {
    let plain = |name, flags, read| Live { name, program: "plain", flags, read };
    let atlas = |name, read| Live { name, program: "atlas", flags: 0, read };
    vec![
        plain(BASE, 0, libbpf_rs),
        plain("libbpf, C", 0, |maps, course| c_loop(maps, course, |ring| ring.poll(LOOK_EVERY))),
        atlas("bpf-atlas `Latency`", |maps, course| waits(ours(maps, WakeUp::Latency)?, course)),
        atlas("bpf-atlas `Throughput`", |maps, course| {
            waits(ours(maps, WakeUp::Throughput)?, course)
        }),
        atlas("bpf-atlas `Throughput`, 4 ms", |maps, course| {
            let mut ring = ours(maps, WakeUp::Throughput)?;
            ring.set_max_delay(4 * TIMER);
            waits(ring, course)
        }),
        atlas("bpf-atlas `Manual`, 1 ms timer", on_a_timer),
        plain("libbpf, C, no wake-ups, 1 ms timer", NO_WAKEUP, |maps, course| {
            c_loop(maps, course, |ring| {
                sleep(TIMER);
                ring.consume()
            })
        }),
    ]
}

pub fn ours(maps: &Maps, policy: WakeUp) -> Result<RingBuf<Named>, Error> {
    let ring = RingBuf::open(&maps.events)?.with_lost(&maps.events_lost)?;
    let mut ring = ring.with_wake(&maps.events_wake)?;
    ring.set_wake_up(policy)?;
    Ok(ring)
}

fn waits(mut ring: RingBuf<Named>, course: &Course) -> Result<Seen, Error> {
    let mut sink = Sink::default();
    let seen = course.measure(|over| {
        while !over.load(Ordering::Acquire) {
            ring.wait(LOOK_EVERY)?;
            ring.drain(|event| sink.take(&event.words()))?;
        }
        ring.drain(|event| sink.take(&event.words()))?;
        Ok(())
    })?;
    seen.with(sink)
}

fn on_a_timer(maps: &Maps, course: &Course) -> Result<Seen, Error> {
    let mut ring = ours(maps, WakeUp::Manual)?;
    let mut sink = Sink::default();
    let seen = course.measure(|over| {
        while !over.load(Ordering::Acquire) {
            sleep(TIMER);
            ring.drain(|event| sink.take(&event.words()))?;
        }
        ring.drain(|event| sink.take(&event.words()))?;
        Ok(())
    })?;
    seen.with(sink)
}

unsafe extern "C" fn take_event(sink: *mut c_void, data: *mut c_void, len: size_t) -> c_int {
    if (len as usize) < size_of::<Event>() {
        return -libc::EINVAL;
    }
    // SAFETY: as for `take_record`, with a Sink.
    let (sink, event) = unsafe { (&mut *sink.cast::<Sink>(), &*data.cast::<Event>()) };
    sink.take(event);
    0
}

fn c_loop(
    maps: &Maps,
    course: &Course,
    wait: impl Fn(&CRing) -> Result<(), Error>,
) -> Result<Seen, Error> {
    let sink = Box::into_raw(Box::<Sink>::default());
    let read = || {
        // SAFETY: the sink is freed after the reader is.
        let ring = unsafe { CRing::new(&maps.events, take_event, sink.cast())? };
        course.measure(|over| {
            while !over.load(Ordering::Acquire) {
                wait(&ring)?;
            }
            ring.consume()
        })
    };
    let seen = read();
    // SAFETY: it is the box that was taken apart above, and the reader is gone.
    let sink = unsafe { Box::from_raw(sink) };
    seen?.with(*sink)
}

fn libbpf_rs(maps: &Maps, course: &Course) -> Result<Seen, Error> {
    let mut sink = Sink::default();
    let mut builder = RingBufferBuilder::new();
    builder.add(&maps.events, |bytes| {
        let Some(event) = words(bytes) else { return -libc::EINVAL };
        sink.take(event);
        0
    })?;
    let ring = builder.build()?;
    let seen = course.measure(|over| {
        while !over.load(Ordering::Acquire) {
            ring.poll(LOOK_EVERY)?;
        }
        Ok(ring.consume()?)
    })?;
    drop(ring);
    seen.with(sink)
}
