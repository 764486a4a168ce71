//! `.kconfig`: user space sees what the program sees.

#![forbid(unsafe_code)]

use bpf_atlas::Pod;
use bpf_atlas_build_e2e::kconfig::{self, Kconfig, LibbpfTristate};

/// As large as the section, and laid out otherwise.
#[derive(Clone, Copy, Debug, Pod)]
#[repr(C, packed)]
struct Other {
    version: i32,
    rest: [u8; size_of::<Kconfig>() - 4],
}

/// `major.minor.patch` of the running kernel, as `LINUX_KERNEL_VERSION` has it.
fn version() -> i32 {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0_i32);
    next() << 16 | next() << 8 | next().min(255)
}

#[test]
fn the_kernels_configuration_is_seen_as_the_program_sees_it() {
    const NAME: &str = "the_kernels_configuration_is_seen_as_the_program_sees_it";
    let mut loaded = match kconfig::open().unwrap().load() {
        Ok(loaded) => loaded,
        Err(error) if error.to_string().contains("Kconfig") => {
            println!("skipped: {NAME}: this kernel does not tell its configuration: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let ran = loaded.progs().look().libbpf(|look| look.test_run(Default::default()));
    assert_eq!(ran.unwrap().return_value, 0);
    let (all, seen) = (&loaded.kconfig, loaded.maps.seen.lookup(0).unwrap());
    assert!(!all.is_writable());
    assert_eq!(all.LINUX_KERNEL_VERSION(), version());
    assert_eq!((all.CONFIG_BPF(), all.CONFIG_BPF_SYSCALL().get()), (LibbpfTristate::TRI_YES, true));
    assert!(!all.CONFIG_NO_SUCH_OPTION().get());

    assert_eq!(all.LINUX_KERNEL_VERSION(), seen.version);
    assert_eq!(all.CONFIG_HZ(), seen.hz);
    assert_eq!(all.CONFIG_BPF(), seen.bpf);
    assert_eq!(all.CONFIG_DEFAULT_HOSTNAME(), seen.hostname);
    assert_eq!(all.CONFIG_INET(), seen.inet);
    assert_eq!(all.CONFIG_BPF_SYSCALL(), seen.syscall);
    assert_eq!(all.CONFIG_NO_SUCH_OPTION(), seen.no_such);
    assert!(seen.hz >= 100 && !seen.hostname.is_empty(), "{all:?}");

    // libbpf lays the section out: where it does so otherwise, that is told.
    let error = loaded.object().global::<Other>(".kconfig").unwrap_err().to_string();
    assert!(error.contains("no field for `CONFIG_") && error.contains(".kconfig"), "{error}");

    // As long as it is needed, like all variables.
    let all = loaded.into_handle().kconfig.clone();
    assert_eq!(all.CONFIG_HZ(), seen.hz);
}
