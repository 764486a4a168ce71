//! Rings of several types of event: what is written for them, and what is refused
//! by the names of ring and event.

#![forbid(unsafe_code)]

mod support;

use bpf_atlas_build::Error;
use support::{Dir, map, refused};

/// Two events that a ring can hold, and their ring.
const EXEC: &str = "struct exec { __u32 kind; __u32 pid; };\n";
const EXIT: &str = "struct exit { __u32 kind; __u64 code; };\n";

fn ring_of(events: &str) -> String {
    format!(
        "enum {{ ONE = 1, UNO = 1, TWO, One }};\n{EXEC}{EXIT}ATLAS_RING_OF(events, 4096, {events});"
    )
}

#[test]
fn events_that_cannot_be_told_apart_are_refused_with_ring_and_tags() {
    let text = ring_of("ATLAS_EVENT(ONE, struct exec) ATLAS_EVENT(UNO, struct exit)");
    let (error, said) = refused("equal_tags", &text);
    assert!(matches!(error, Error::Type { .. }), "{said}");
    assert!(
        said.contains("ring `events`: its events `ONE` and `UNO` have the same tag, 1"),
        "{said}"
    );

    let text = ring_of("ATLAS_EVENT(ONE, struct exec) ATLAS_EVENT(One, struct exit)");
    let (error, said) = refused("equal_variants", &text);
    assert!(matches!(error, Error::Collision { .. }), "{said}");
    assert!(said.contains("event `ONE` and event `One` of ring `events`"), "{said}");
    assert!(said.contains("would both be `One`"), "{said}");
}

#[test]
fn an_event_that_means_nothing_outside_the_kernel_is_refused_by_its_tag() {
    let text = ring_of("ATLAS_EVENT(ONE, struct exec) ATLAS_EVENT(TWO, struct held)");
    let held = "struct held { __u32 kind; struct { void *sk; } peer; };\n";
    let (error, said) = refused("pointer_in_events", &format!("{held}{text}"));
    assert!(matches!(error, Error::Pointer { .. }), "{said}");
    assert!(said.contains("map `events`: field `peer.sk` of the event `TWO`"), "{said}");
    assert!(said.contains("allow_pointers(\"events\")"), "{said}");
    let dir = Dir::new("pointer_allowed");
    dir.builder(&format!("{held}{text}")).allow_pointers("events").build().unwrap();
    assert!(dir.built().contains("RingBuf<types::Events>"), "{}", dir.built());

    // What the header lets pass and Rust has no constant for.
    let text = ring_of("ATLAS_EVENT(ONE, struct odd)");
    for (kind, why) in
        [("__be32 kind", "its `kind` is in network byte order"), ("float kind", "no integer")]
    {
        let odd = format!("struct odd {{ {kind}; __u32 pid; }};\n{text}");
        let (_, said) = refused("odd_kind", &odd);
        assert!(said.contains("the event `ONE` of ring `events`") && said.contains(why), "{said}");
        assert!(said.contains("write `__u32 kind`"), "{said}");
    }
    let odd = format!("struct odd {{ union {{ __u32 kind; __u32 other; }}; }};\n{text}");
    let (_, said) = refused("union_kind", &odd);
    assert!(said.contains("does not begin with a member `kind`"), "{said}");

    let (_, said) = refused("no_events", &ring_of(""));
    assert!(said.contains("ring `events`: `ATLAS_RING_OF` names no event"), "{said}");
}

#[test]
fn an_event_without_a_kind_at_its_start_does_not_compile() {
    for (name, odd) in [("late", "__u32 pid; __u32 kind;"), ("narrow", "__u16 kind; __u16 pid;")] {
        let text = ring_of("ATLAS_EVENT(ONE, struct odd)");
        let (error, said) = refused(name, &format!("struct odd {{ {odd} }};\n{text}"));
        assert!(matches!(error, Error::Compile { .. }), "{said}");
        assert!(said.contains("ONE: an event begins with `__u32 kind`"), "{said}");
    }
}

#[test]
fn a_comma_between_events_is_told_of() {
    let text = ring_of("ATLAS_EVENT(ONE, struct exec), ATLAS_EVENT(TWO, struct exit)");
    let (error, said) = refused("comma", &text);
    assert!(matches!(error, Error::Compile { .. }), "{said}");
    assert!(said.contains("events: no comma between one ATLAS_EVENT and the next"), "{said}");
}

#[test]
fn a_tag_may_be_a_macro() {
    let dir = Dir::new("macro_tags");
    let text = format!(
        "#define FIRST 7\n#define SECOND (FIRST + 1)\n{EXEC}{EXIT}\
         ATLAS_RING_OF(events, 4096, ATLAS_EVENT(FIRST, struct exec) \
         ATLAS_EVENT(SECOND, struct exit));\n\
         SEC(\"syscall\") int run(void *ctx) {{ \
         atlas_event(events, SECOND) exit = {{}}; \
         atlas_event(events, FIRST) *exec = atlas_event_reserve(events, FIRST); \
         if (exec) atlas_ring_submit(events, exec); \
         return atlas_event_output(events, SECOND, &exit, sizeof(exit)); }}"
    );
    dir.builder(&text).build().unwrap();
    let built = dir.built();
    for line in ["pub const FIRST: u32 = 7;", "pub const SECOND: u32 = 8;", "First(Exec),"] {
        assert!(built.contains(line), "{line} is not in\n{built}");
    }
}

#[test]
fn the_enum_of_a_ring_has_its_name_or_another() {
    let text = ring_of("ATLAS_EVENT(ONE, struct exec) ATLAS_EVENT(TWO, struct exit)");
    let dir = Dir::new("events");
    dir.builder(&text).build().unwrap();
    let built = dir.built();
    for line in [
        "pub enum Events {",
        "#[event(Events::ONE)]",
        "pub const TWO: u32 = 2;",
        "One(Exec),",
        "/// C `TWO`: a `struct exit`.",
        "pub events: ::bpf_atlas::RingBuf<types::Events>,",
        "RingBuf::open(&map(\"events\")?)?.with_lost(&map(\"events_lost\")?)?.with_wake(&map(\"events_wake\")?)?",
    ] {
        assert!(built.contains(line), "{line} is not in\n{built}");
    }
    assert!(!built.contains("EventsOf"), "how tags are told is no type: {built}");

    // A struct that has the name already.
    let taken = format!("struct events {{ int a; }};\n{}{text}", map("m", "int", "struct events"));
    let (error, said) = refused("events_taken", &taken);
    assert!(matches!(error, Error::Collision { .. }), "{said}");
    assert!(
        said.contains("`struct events`") && said.contains("the events of ring `events`"),
        "{said}"
    );
    assert!(said.contains("rename(\"ring NAME\", …)"), "{said}");
    dir.builder(&taken)
        .rename("ring events", "Process")
        .doc("ring events", "Said.")
        .build()
        .unwrap();
    let built = dir.built();
    assert!(built.contains("RingBuf<types::Process>") && built.contains("pub enum Process {"));
    assert!(built.contains("/// Said."), "{built}");

    let error = dir.builder(&text).rename("ring other", "Other").build().unwrap_err();
    assert!(error.to_string().contains("rename names `ring other`"), "{error}");
}

#[test]
fn a_ring_of_one_type_is_what_it_was_with_its_words_beside_it() {
    let dir = Dir::new("one_event");
    dir.builder(&format!("{EXEC}ATLAS_RING(r, 4096, struct exec);")).build().unwrap();
    let built = dir.built();
    assert!(built.contains("pub r: ::bpf_atlas::RingBuf<types::Exec>,"), "{built}");
    assert!(
        built.contains(".with_lost(&map(\"r_lost\")?)?.with_wake(&map(\"r_wake\")?)?"),
        "{built}"
    );
    assert!(!built.contains("::Events)]"), "{built}");
}
