//! Every program that is started, and how it ends, as it happens.

#![forbid(unsafe_code)]

mod common;

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::SystemTime;

use bpf_atlas::probes::{Exec, ExecEvents, Exit, ProcessEvent};
use clap::Parser;
use common::{Clock, Common, Kind, object, printable, ring_size};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use nix::unistd::User;
use serde_json::{Value, json};

const AFTER: &str = "\
Needs  CAP_BPF and CAP_PERFMON (root has both), Linux 5.8; -x Linux 5.15.
Costs  some 15 microseconds an exec, half a microsecond an exit.
Shows  `…` where arguments are cut, and what a terminal would obey spelt out, as \\u{1b}.";

/// Every program that is started, as it happens
#[derive(Parser)]
#[command(
    version,
    after_help = AFTER,
    mut_arg("interval", |arg| arg.help("Look after loss this often; programs are shown at once")),
    mut_arg("top", |arg| arg.help("End after this many programs")),
    mut_arg("once", |arg| arg.help("Show what is started within one interval, and end")),
)]
struct Args {
    #[command(flatten)]
    common: Common,

    /// With the time of day (UTC)
    #[arg(short = 'T', long)]
    time: bool,

    /// With the seconds since the start
    #[arg(short, long)]
    timestamp: bool,

    /// With the user who started it
    #[arg(short = 'U', long)]
    print_uid: bool,

    /// Failed attempts too
    #[arg(short = 'x', long)]
    failures: bool,

    /// How processes end too: code or signal, and how long after their fork
    #[arg(short = 'e', long)]
    exits: bool,

    /// Of this user only, by name or number
    #[arg(short, long, value_name = "USER", value_parser = user)]
    uid: Option<u32>,

    /// Only where the name or the file has this in it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,

    /// Quote arguments
    #[arg(short, long)]
    quote: bool,

    /// Show this many arguments
    #[arg(long, value_name = "N", default_value_t = 20)]
    max_args: usize,

    /// Keep this many bytes of arguments, at most 16384
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(..=16384))]
    max_bytes: u32,

    /// Size of the ring buffer, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = ring_size)]
    ring_size: u32,

    /// Attach this way only: tp_btf, raw_tp or tracepoint
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    attach: Option<Kind>,
}

fn user(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err("there is no such user".into()),
        Err(errno) => Err(errno.desc().into()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| show(&args))
}

fn show(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut builder = ExecEvents::builder()
        .failed(args.failures)
        .exits(args.exits)
        .args_limit(args.max_bytes)
        .ring_size(args.ring_size);
    if let Some(uid) = args.uid {
        builder = builder.uid(uid);
    }
    if let Some(kind) = args.attach {
        builder = builder.attach_kind(kind.into());
    }
    let mut clock = Clock::start(&args.common)?;
    let mut probe = builder.attach()?;
    let started = SystemTime::now();

    common::follow(&args.common, &mut clock, &mut probe, &titles(args), |probe, page| {
        probe.drain_events(|event| {
            if page.has_room() && is_wanted(&event, args) {
                page.line(&match (event, args.common.json) {
                    (ProcessEvent::Exec(exec), true) => json_of(&exec),
                    (ProcessEvent::Exit(exit), true) => json_of_exit(&exit),
                    (event, _) => line(&event, args, started),
                });
            }
        })
    })
}

fn is_wanted(event: &ProcessEvent<'_>, args: &Args) -> bool {
    let Some(name) = &args.name else { return true };
    let (comm, file) = match event {
        ProcessEvent::Exec(exec) => (exec.comm, exec.filename()),
        ProcessEvent::Exit(exit) => (exit.comm, None),
        _ => return false,
    };
    let file = file.map_or(&[][..], |file| file.as_os_str().as_bytes());
    [comm.as_bytes(), file]
        .iter()
        .any(|text| name.is_empty() || text.windows(name.len()).any(|part| part == name.as_bytes()))
}

fn titles(args: &Args) -> String {
    let mut line = String::new();
    if args.time {
        line += "TIME      ";
    }
    if args.timestamp {
        line += "TIME(s)   ";
    }
    if args.print_uid {
        line += "UID     ";
    }
    line += "PCOMM            PID      PPID     ";
    line + if args.exits { "EVENT  RET           DURATION(s)  ARGS" } else { "RET  ARGS" }
}

fn line(event: &ProcessEvent<'_>, args: &Args, started: SystemTime) -> String {
    let (comm, ppid, uid, what, rest) = match event {
        ProcessEvent::Exec(exec) => {
            let what = if args.exits {
                format!("exec   {:<12}  {:>11}  ", exec.ret, "")
            } else {
                format!("{:>3}  ", exec.ret)
            };
            (exec.comm, exec.ppid, exec.uid, what, arguments(exec, args))
        }
        ProcessEvent::Exit(exit) => {
            let duration = exit.duration().as_secs_f64();
            let what = format!("exit   {:<12}  {duration:>11.6}", end_of(exit));
            (exit.comm, exit.ppid, exit.uid, what, String::new())
        }
        _ => return String::new(),
    };
    let mut line = String::new();
    // Writing into a string cannot fail.
    if args.time {
        let at = Timestamp::try_from(event.time()).unwrap_or_default();
        let _ = write!(line, "{}  ", at.strftime("%T"));
    }
    if args.timestamp {
        let since = event.time().duration_since(started).unwrap_or_default();
        let _ = write!(line, "{:<8.3}  ", since.as_secs_f64());
    }
    if args.print_uid {
        let _ = write!(line, "{uid:<6}  ");
    }
    let comm = escaped(OsStr::from_bytes(comm.as_bytes()), false);
    let _ = write!(line, "{comm:<16} {:<8} {ppid:<8} ", event.pid());
    line + &what + &rest
}

/// `3`, `SIGKILL`, `SIGSEGV+core`
fn end_of(exit: &Exit<'_>) -> String {
    let Some(signal) = exit.signal() else { return exit.code().unwrap_or(0).to_string() };
    signal_name(signal) + if exit.core_dumped() { "+core" } else { "" }
}

fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(known) => known.as_str().into(),
        Err(_) => format!("signal {signal}"),
    }
}

/// The arguments, the file in the place of the first where that is but its name.
fn arguments(exec: &Exec<'_>, args: &Args) -> String {
    let file = exec.filename();
    let mut words: Vec<_> = exec.args().take(args.max_args).collect();
    match (file, words.first_mut()) {
        (Some(file), Some(first)) if file.file_name() == Some(first) => *first = file.as_os_str(),
        (Some(file), None) if args.max_args > 0 => words.push(file.as_os_str()),
        _ => {}
    }
    let word = |word: &&OsStr| match args.quote {
        true => format!("\"{}\"", escaped(word, true)),
        false => escaped(word, false),
    };
    let mut text = words.iter().map(word).collect::<Vec<_>>().join(" ");
    if exec.truncated() || exec.args().nth(args.max_args).is_some() {
        text += " …";
    }
    text
}

/// Fit for a terminal: control characters and what is no UTF-8 are spelt out;
/// inside quotes so that nothing can be taken for that.
fn escaped(text: &OsStr, quoted: bool) -> String {
    let mut out = String::new();
    for chunk in text.as_bytes().utf8_chunks() {
        out += &match quoted {
            true => printable(&chunk.valid().replace('\\', "\\\\").replace('"', "\\\"")),
            false => printable(chunk.valid()),
        };
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn json_of(exec: &Exec<'_>) -> String {
    let at = Timestamp::try_from(exec.time()).unwrap_or_default();
    let file = exec.filename().map(|file| file.as_os_str());
    let mut fields = json!({
        "event": "exec",
        "pid": exec.pid,
        "ppid": exec.ppid,
        "tid": exec.tid,
        "uid": exec.uid,
        "gid": exec.gid,
        "ret": exec.ret,
        "error": exec.error().map(|error| error.to_string()),
        "comm": exec.comm.to_string_lossy(),
        "filename": file.map(OsStr::to_string_lossy),
        "args": exec.args().map(OsStr::to_string_lossy).collect::<Vec<_>>(),
        "truncated": exec.truncated(),
    });
    // JSON has no other strings than Unicode; the bytes of others beside them.
    if file.is_some_and(|file| file.to_str().is_none()) {
        fields["filename_hex"] = file.map(hex).into();
    }
    if exec.args().any(|arg| arg.to_str().is_none()) {
        fields["args_hex"] = exec.args().map(hex).collect::<Value>();
    }
    object("exec", at, fields)
}

fn json_of_exit(exit: &Exit<'_>) -> String {
    let at = |time| Timestamp::try_from(time).unwrap_or_default();
    let started = at(exit.started());
    let fields = json!({
        "event": "exit",
        "pid": exit.pid,
        "ppid": exit.ppid,
        "uid": exit.uid,
        "gid": exit.gid,
        "comm": exit.comm.to_string_lossy(),
        "code": exit.code(),
        "signal": exit.signal(),
        "signal_name": exit.signal().map(signal_name),
        "core_dumped": exit.core_dumped(),
        "started": started.to_string(),
        "started_ns": started.as_nanosecond() as i64,
        "duration_ns": exit.duration().as_nanos() as u64,
    });
    object("exit", at(exit.time()), fields)
}

fn hex(text: &OsStr) -> String {
    text.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
