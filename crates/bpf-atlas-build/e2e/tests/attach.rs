//! Programs attached all at once, one by one, and not at all.

#![forbid(unsafe_code)]

use bpf_atlas::ObjectError;
use bpf_atlas::object::XdpFlags;
use bpf_atlas_build_e2e::{Event, attach};

fn calls() {
    for _ in 0..10 {
        std::hint::black_box(std::fs::metadata("/").is_ok());
    }
}

#[test]
fn what_has_a_target_is_attached_and_detached_with_the_handle() {
    let handle = attach::open().unwrap().load().unwrap().attach().unwrap();
    calls();
    assert!(handle.bss.entered() >= 10 && handle.bss.exited() >= 10);
    assert_eq!(handle.object().unattached(), ["pass"]);
    assert_eq!(handle.maps.seen.lookup(0).unwrap(), Some(Event { calls: 1, cpu: 0, pad: 0 }));

    let (view, maps) = (handle.bss.clone(), handle.maps.seen.clone());
    drop(handle);
    let entered = view.entered();
    calls();
    assert_eq!(view.entered(), entered, "dropping the handle detached");
    assert_eq!(maps.count().unwrap(), 1);
}

#[test]
fn programs_are_attached_one_by_one() {
    let mut loaded = attach::open().unwrap().load().unwrap();
    loaded.progs().on_enter().attach().unwrap();
    let mut handle = loaded.into_handle();
    calls();
    assert!(handle.bss.entered() >= 10);
    assert_eq!(handle.bss.exited(), 0);
    assert_eq!(handle.object().unattached(), ["on_exit", "pass"]);
    handle.progs().on_exit().attach_with(|p| p.attach_raw_tracepoint("sys_exit")).unwrap();
    calls();
    assert!(handle.bss.exited() >= 10);
    assert_eq!(handle.progs().on_exit().recursion_misses().unwrap(), 0);
}

#[test]
fn one_attached_by_hand_is_not_attached_again() {
    let mut open = attach::open().unwrap();
    open.progs.on_exit.set_autoattach(false);
    open.progs.pass.set_autoload(false);
    let mut loaded = open.load().unwrap();
    loaded.progs().on_enter().attach().unwrap();
    let handle = loaded.attach().unwrap();
    let before = handle.bss.entered();
    std::hint::black_box(std::fs::metadata("/").is_ok());
    assert!(handle.bss.entered() > before);
    assert_eq!(handle.bss.exited(), 0);
    assert_eq!(handle.object().unattached(), ["on_exit"]);
}

#[test]
fn a_program_without_a_target_says_so() {
    let mut loaded = attach::open().unwrap().load().unwrap();
    let error = loaded.progs().pass().attach().unwrap_err();
    assert!(matches!(error, ObjectError::NoTarget { program: "pass", .. }), "{error}");
    let error = loaded.progs().pass().attach_xdp(u32::MAX, XdpFlags::NONE).unwrap_err();
    assert!(matches!(error, ObjectError::Kernel { .. }), "{error}");
}

#[test]
fn xdp_is_attached_to_an_interface() {
    let loopback = loopback();
    let mut loaded = attach::open().unwrap().load().unwrap();
    loaded.progs().pass().attach_xdp(loopback, XdpFlags::SKB_MODE).unwrap();
    let handle = loaded.into_handle();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
    assert!(handle.bss.packets() >= 1);
}

/// The number of the loopback interface.
fn loopback() -> u32 {
    let text = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    text.trim().parse().unwrap()
}
