//! Loading and holding: for programs that live longer than their skeleton.
//!
//! libbpf prints what went wrong to stderr and returns a bare error number.
//! [`open_file`], [`load`] and [`quietly`] catch what it prints: it goes to the
//! `log` crate, and into the [`LoadError`], the verifier's log included.
//!
//! [`Attached`] holds the links and maps of a program and lets the skeleton go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use libbpf_rs::{Link, MapCore, Object, ObjectBuilder, OpenObject, PrintLevel, XdpFlags};

use crate::caps::Capability;
use crate::error::{Errno, OpenError};
use crate::raw::{Declared, MapName, RawMap};
use crate::signals::Held;
use crate::sys::{object, prog, xdp};

/// A BPF object could not be opened, loaded or attached.
///
/// `Display` says what failed and why in a few lines; [`log`](Self::log) is all
/// that libbpf and the verifier said.
#[derive(Debug)]
pub struct LoadError {
    what: String,
    source: libbpf_rs::Error,
    log: String,
}

impl LoadError {
    /// Everything that libbpf printed, the verifier's log included.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The verifier's log of the program that was refused, if one was.
    pub fn verifier_log(&self) -> Option<&str> {
        let (_, log) = self.log.split_once("-- BEGIN PROG LOAD LOG --")?;
        Some(log.split_once("-- END PROG LOAD LOG --").map_or(log, |(log, _)| log).trim())
    }

    /// The capability that the process lacks, when that is the likely cause:
    /// `CAP_BPF`, `CAP_PERFMON`, and last `CAP_NET_ADMIN`, which only network
    /// programs need.
    pub fn missing(&self) -> Option<Capability> {
        if self.source.kind() != libbpf_rs::ErrorKind::PermissionDenied {
            return None;
        }
        let wanted = [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin];
        match Capability::first_missing(&wanted) {
            // The verifier refuses what it does not like with EACCES too.
            Capability::Policy if self.verifier_log().is_some() => None,
            missing => Some(missing),
        }
    }

    /// The verifier's verdict: its last line that is no statistics.
    fn verdict(&self) -> Option<&str> {
        let mut lines = self.verifier_log()?.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty() && !line.starts_with("processed "))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)?;
        if let Some(verdict) = self.verdict() {
            return write!(f, "; the verifier says: {verdict}");
        }
        if let Some(missing) = self.missing() {
            // What sort of program was refused is not told; tracing needs no more than the rest.
            let who = if missing == Capability::NetAdmin { "a network program" } else { "it" };
            return write!(f, "; {who} needs {missing}: {}", missing.advice());
        }
        // The first thing it complained of is the cause, the rest are consequences.
        let causes = |line: &&str| line.starts_with("libbpf: ") && !line.contains("Retrying");
        let told = self.log.lines().find(causes);
        match told {
            Some(line) => write!(f, "; {line}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

thread_local! {
    /// What libbpf printed on this thread since `quietly` began.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// libbpf's print callback is one for the process.
static PRINTING: Mutex<()> = Mutex::new(());

fn catch(level: PrintLevel, message: String) {
    let line = message.trim_end();
    match level {
        // What libbpf warns of is in the error; the caller decides.
        PrintLevel::Warn | PrintLevel::Info => log::debug!(target: "libbpf", "{line}"),
        PrintLevel::Debug => log::trace!(target: "libbpf", "{line}"),
    }
    if level == PrintLevel::Debug {
        return;
    }
    CAUGHT.with_borrow_mut(|caught| {
        if let Some(caught) = caught {
            caught.push_str(&message);
        }
    });
}

/// Runs `f` with libbpf's output caught: nothing of it reaches stderr. `what`
/// begins the error's message, as in `loading flows`.
///
/// The callback of libbpf is one for the whole process and is put back after;
/// threads take turns. Calls can be nested. Meanwhile signals to this thread wait, but for
/// those that end a process: the kernel interrupts the verifier for a signal, and libbpf
/// tries a program five times.
///
/// # Errors
/// The error of `f`, with what libbpf said.
pub fn quietly<T>(
    what: impl Into<String>,
    f: impl FnOnce() -> libbpf_rs::Result<T>,
) -> Result<T, LoadError> {
    if let Some(start) = CAUGHT.with_borrow(|caught| caught.as_ref().map(String::len)) {
        // Within another call: it is this thread's turn, and caught already.
        return f().map_err(|source| {
            let log = CAUGHT.with_borrow(|caught| caught.as_ref().map(|log| log[start..].into()));
            LoadError { what: what.into(), source, log: log.unwrap_or_default() }
        });
    }
    let _turn = PRINTING.lock().unwrap_or_else(PoisonError::into_inner);
    let _restore = Restore(libbpf_rs::set_print(Some((
        if log::log_enabled!(target: "libbpf", log::Level::Trace) {
            PrintLevel::Debug
        } else {
            PrintLevel::Info
        },
        catch,
    ))));
    CAUGHT.set(Some(String::new()));
    let held = Held::new();
    let result = f();
    drop(held);
    let log = CAUGHT.take().unwrap_or_default();
    result.map_err(|source| LoadError { what: what.into(), source, log })
}

struct Restore(Option<(PrintLevel, libbpf_rs::PrintCallback)>);

impl Drop for Restore {
    fn drop(&mut self) {
        CAUGHT.set(None);
        libbpf_rs::set_print(self.0);
    }
}

/// Opens an object file, without loading it.
///
/// # Errors
/// [`LoadError`], for a file that is not there, not ELF or not BPF.
pub fn open_file(path: impl AsRef<Path>) -> Result<OpenObject, LoadError> {
    let path = path.as_ref();
    quietly(format!("opening {}", path.display()), || ObjectBuilder::default().open_file(path))
}

/// Loads an object's maps and programs into the kernel.
///
/// For a skeleton: `quietly("loading flows", || open.load())`.
///
/// # Errors
/// [`LoadError`], with the verifier's log.
pub fn load(object: OpenObject) -> Result<Object, LoadError> {
    let name = object.name().map(|name| name.to_string_lossy().into_owned());
    let what = format!("loading {}", name.as_deref().unwrap_or("the object"));
    quietly(what, || object.load())
}

/// How many runs of a program the kernel has skipped (`recursion_misses`).
///
/// A classic tracepoint or kprobe program does not run on a CPU whose task is
/// inside a map system call, and no tracing program runs inside itself. What it
/// counts plus this is what happened. Since Linux 5.12; 0 before. One
/// `BPF_OBJ_GET_INFO_BY_FD`, for which a descriptor of the program is enough.
///
/// # Errors
/// What the kernel answers to a descriptor that is not of BPF.
pub fn recursion_misses(program: impl AsFd) -> Result<u64, Errno> {
    prog::recursion_misses(program.as_fd())
}

/// Attaches an XDP program to an interface of the thread's network namespace,
/// in the mode that is asked for: `DRV_MODE` is native, `SKB_MODE` generic.
/// libbpf-rs's `attach_xdp` takes what the kernel chooses.
///
/// The descriptor is a `bpf_link`: the program is attached as long as it is
/// open, so not longer than the process lives. Since Linux 5.9.
///
/// # Errors
/// What the kernel answers: `EOPNOTSUPP` from a driver without native XDP,
/// `EBUSY` or `EEXIST` from an interface that has a program, `EINVAL` for one
/// that does not exist.
pub fn attach_xdp(program: impl AsFd, ifindex: u32, flags: XdpFlags) -> Result<OwnedFd, Errno> {
    xdp::link(program.as_fd(), ifindex as i32, flags.bits())
}

/// The BTF that the object brought with it.
pub(crate) fn btf_of(object: &Object) -> Option<Declared> {
    Some(Declared::new(object::btf_id(object)?, object::btf(object)?))
}

/// Links and maps of a program, without the skeleton they came from.
///
/// Programs stay attached and maps stay open as long as this lives; dropping
/// it detaches. It is `'static` and `Send`, so an agent can keep it in a struct
/// and move it to a thread, which a skeleton cannot.
///
/// USDT links must not outlive their object: keep that with them.
///
/// ```no_run
/// use bpf_atlas::{Hash, agent};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut object = agent::load(agent::open_file("flows.bpf.o")?)?;
/// let mut attached = agent::Attached::new(&object)?;
/// for mut program in object.progs_mut() {
///     attached.add(agent::quietly("attaching", || program.attach())?);
/// }
/// drop(object); // programs run on
/// let flows = Hash::<u32, u64>::open(attached.map("flows")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Attached {
    links: Vec<Link>,
    /// `None` for a map that is not in the kernel (autocreate off).
    maps: BTreeMap<String, Option<RawMap>>,
}

impl Attached {
    /// Takes a handle of every map of a loaded object (of a skeleton:
    /// `skel.object()`) that is in the kernel, and no links yet.
    ///
    /// # Errors
    /// As [`RawMap::open`].
    pub fn new(object: &Object) -> Result<Self, OpenError> {
        let mut maps = BTreeMap::new();
        let btf = btf_of(object);
        for map in object.maps() {
            let raw = match RawMap::open(&map) {
                Err(OpenError::NotLoaded { .. }) => None,
                result => Some(result?.with_declared(btf.clone())),
            };
            maps.insert(map.name().to_string_lossy().into_owned(), raw);
        }
        Ok(Self { links: Vec::new(), maps })
    }

    /// Keeps a program attached.
    pub fn add(&mut self, link: Link) {
        self.links.push(link);
    }

    /// The map that the C source calls `name`.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], which lists the maps there are;
    /// [`OpenError::NotLoaded`] for one with autocreate off.
    pub fn map(&self, name: &str) -> Result<&RawMap, OpenError> {
        let Some(map) = self.maps.get(name) else {
            let known: Vec<_> = self.maps.keys().map(String::as_str).collect();
            let what = format!("map `{name}` in this object (it has {})", known.join(", "));
            return Err(OpenError::NotFound { what });
        };
        map.as_ref().ok_or_else(|| OpenError::NotLoaded { map: MapName::from_text(name) })
    }

    /// The links.
    pub fn links(&self) -> &[Link] {
        &self.links
    }
}
