//! A process of two threads, each on a CPU, that make system calls when told.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, hint, thread};

use nix::unistd::getppid;

use super::Error;
use super::kernel::pin_to;

/// The word by which this binary knows that it is the worker.
pub const ROLE: &str = "--worker";

/// The calls of a turn beside those that are timed: the answer, and the `read`
/// that waits for the next order.
pub const OVERHEAD: u64 = 2;

/// So many calls are timed at once: short beside what others take of a CPU.
pub const SLICE: u64 = 1000;

/// The worker's side: orders come over what is its standard input and output.
pub fn obey() -> Result<(), Error> {
    let cpus: Vec<usize> = env::args().skip(2).filter_map(|cpu| cpu.parse().ok()).collect();
    let ends = [
        std::io::stdin().as_fd().try_clone_to_owned()?,
        std::io::stdout().as_fd().try_clone_to_owned()?,
    ];
    let arrived = AtomicU64::new(0);
    thread::scope(|scope| {
        for (end, cpu) in ends.into_iter().zip(cpus) {
            let arrived = &arrived;
            scope.spawn(move || work(UnixStream::from(end), cpu, arrived));
        }
    });
    Ok(())
}

fn work(mut orders: UnixStream, cpu: usize, arrived: &AtomicU64) {
    pin_to(cpu).expect("a CPU of the worker's");
    let mut order = [0; 16];
    let mut slices = Vec::with_capacity(1 << 10);
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    while orders.read_exact(&mut order).is_ok() {
        // All start together: those of this turn and of all before.
        let (calls, until) = (word(&order[..8]), word(&order[8..]));
        arrived.fetch_add(1, Ordering::AcqRel);
        while arrived.load(Ordering::Acquire) < until {
            hint::spin_loop();
        }
        slices.clear();
        for _ in 0..calls / SLICE {
            let start = Instant::now();
            for _ in 0..SLICE {
                getppid();
            }
            slices.push(start.elapsed().as_nanos() as u64);
        }
        slices.sort_unstable();
        let ns = slices[slices.len() / 2];
        orders.write_all(&ns.to_ne_bytes()).expect("an answer");
    }
}

/// The worker, from the benchmark's side.
pub struct Worker {
    child: Child,
    threads: Vec<UnixStream>,
    arrivals: u64,
}

impl Worker {
    /// With a thread on each of these CPUs, one or two.
    pub fn start(cpus: &[usize]) -> Result<Self, Error> {
        let (first, in_) = UnixStream::pair()?;
        let (second, out) = UnixStream::pair()?;
        // `nice` becomes what it starts.
        let child = Command::new("nice")
            .args(["-n", "-20"])
            .arg(env::current_exe()?)
            .arg(ROLE)
            .args(cpus.iter().map(usize::to_string))
            .stdin(Stdio::from(OwnedFd::from(in_)))
            .stdout(Stdio::from(OwnedFd::from(out)))
            .spawn()?;
        let threads = [first, second].into_iter().take(cpus.len()).collect();
        let worker = Self { child, threads, arrivals: 0 };
        worker.until_waiting(cpus.len())?;
        Ok(worker)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Nanoseconds a call, of `threads` threads that make `calls` each: of each the
    /// median of its slices.
    pub fn turn(&mut self, threads: usize, calls: u64) -> Result<f64, Error> {
        self.arrivals += threads as u64;
        let order = [calls.to_ne_bytes(), self.arrivals.to_ne_bytes()].concat();
        for thread in &mut self.threads[..threads] {
            thread.write_all(&order)?;
        }
        let mut sum = 0;
        for thread in &mut self.threads[..threads] {
            let mut ns = [0; 8];
            thread.read_exact(&mut ns)?;
            sum += u64::from_ne_bytes(ns);
        }
        self.until_waiting(self.threads.len())?;
        Ok(sum as f64 / (SLICE * threads as u64) as f64)
    }

    /// Until so many of its threads sleep in `read`.
    fn until_waiting(&self, threads: usize) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let mut waiting = 0;
            for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
                let call = fs::read_to_string(task?.path().join("syscall")).unwrap_or_default();
                let mut words = call.split(' ');
                let number = words.next().and_then(|word| word.parse().ok());
                waiting +=
                    usize::from([libc::SYS_recvfrom, libc::SYS_read].map(Some).contains(&number));
            }
            if waiting >= threads {
                return Ok(());
            }
            thread::sleep(Duration::from_micros(200));
        }
        Err("the worker does not come to rest".into())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
