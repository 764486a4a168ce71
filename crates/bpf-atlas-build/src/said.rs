//! What clang and libbpf say: warnings, which libbpf-cargo only logs, errors
//! without what stands around them, and what libbpf would print.

use std::cell::RefCell;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::{panic, thread};

use libbpf_rs::PrintLevel;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Errors that are shown; what follows is mostly a consequence.
const MOST_ERRORS: usize = 20;

/// Longer lines are cut.
const LONGEST: usize = 400;

/// Runs `f`, and gives the warnings that clang wrote meanwhile.
pub(crate) fn during<T>(f: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let listener = Listener(lines.clone());
    let result = tracing::subscriber::with_default(listener, f);
    let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
    (result, lines.into_iter().filter(|line| is_worth_it(line)).collect())
}

/// The first errors of clang's, each with file and line.
pub(crate) fn errors(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| is_worth_it(line)).collect();
    let told = |line: &&str| line.contains("error: ");
    let count = lines.iter().filter(|line| told(line)).count();
    if count == 0 {
        return text.trim().into();
    }
    let mut shown = Vec::new();
    let mut errors = 0;
    for line in lines {
        errors += usize::from(told(&line));
        if errors > MOST_ERRORS {
            shown.push(format!("and {} errors more", count - MOST_ERRORS));
            break;
        }
        // Notes tell more of the error above them. What is neither is the dump of
        // a compiler that gave up.
        if told(&line) || (errors > 0 && line.contains("note: ")) {
            shown.push(line.chars().take(LONGEST).collect());
        }
    }
    shown.join("\n")
}

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
    /// The last line that libbpf wrote for those who debug it.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `f` with what libbpf prints caught. An error is what it said, or the
/// error itself where it said nothing, with what libbpf was at.
pub(crate) fn by_libbpf<T, E: Display>(f: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    SAID.take();
    LAST.take();
    let before = libbpf_rs::set_print(Some((PrintLevel::Debug, |level, text| match level {
        PrintLevel::Warn => SAID.with_borrow_mut(|said| said.push_str(&text)),
        _ => LAST.set(text),
    })));
    let result = quiet_panics(f);
    libbpf_rs::set_print(before);
    let (said, last) = (SAID.take(), LAST.take());
    let told = |error: String| match (said.trim(), last.trim()) {
        ("", "") => error,
        ("", last) => format!("{error} ({last})"),
        (said, _) => said.to_owned(),
    };
    match result {
        Ok(result) => result.map_err(|error| told(format!("{error:#}"))),
        Err(_) => Err(told("it gives no reason".into())),
    }
}

/// libbpf-rs panics on some errors of libbpf's linker, in debug builds.
pub(crate) fn quiet_panics<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    let before = Arc::new(panic::take_hook());
    let (here, others) = (thread::current().id(), before.clone());
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() != here {
            others(info);
        }
    }));
    let result = panic::catch_unwind(panic::AssertUnwindSafe(f));
    drop(panic::take_hook());
    if let Ok(before) = Arc::try_unwrap(before) {
        panic::set_hook(before);
    }
    result
}

/// Not `2 errors generated.`, and not the way to a header.
fn is_worth_it(line: &str) -> bool {
    let count = line.ends_with("generated.") && line.starts_with(|c: char| c.is_ascii_digit());
    !(line.trim().is_empty() || count || line.starts_with("In file included from"))
}

/// Takes what libbpf-cargo logs of clang.
struct Listener(Arc<Mutex<Vec<String>>>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "compiler-stderr"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_without_what_stands_around_them() {
        let said = "In file included from a.bpf.c:1:\n./b.h:3:1: warning: unused\n\
                    ./b.h:4:2: error: unknown type name 'u3'\n./b.h:1:1: note: did you mean\n\
                    1 warning and 1 error generated.\n";
        assert_eq!(
            errors(said),
            "./b.h:4:2: error: unknown type name 'u3'\n./b.h:1:1: note: did you mean"
        );
        assert_eq!(errors("clang: crashed\n"), "clang: crashed");
        let dumped =
            "fatal error: error in backend: Cannot select\n  0x55: i64\nStack dump:\n0. x\n";
        assert_eq!(errors(dumped), "fatal error: error in backend: Cannot select");
        let many: String = (0..30).map(|n| format!("a.c:{n}:1: error: no\n")).collect();
        assert!(errors(&many).ends_with("and 10 errors more"));
    }
}
