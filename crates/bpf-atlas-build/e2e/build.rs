//! One module for each file of `bpf/`.

use bpf_atlas_build::Builder;

fn main() {
    Builder::new("bpf/reference.bpf.c")
        .derive("sums", "bpf_atlas::Accumulate")
        .attribute("sums.last_ns", "accumulate(max)")
        .build_or_exit();
    Builder::new("bpf/kinds.bpf.c").build_or_exit();
    Builder::new("bpf/kconfig.bpf.c").build_or_exit();
    Builder::new("bpf/ops.bpf.c").build_or_exit();
    Builder::new("bpf/wide.bpf.c").build_or_exit();
    Builder::new("bpf/told.bpf.c")
        .derive("*", "serde::Serialize")
        .derive("*", "serde::Deserialize")
        .build_or_exit();
    Builder::new("bpf/events.bpf.c")
        .rename("ring events", "Event")
        .doc("ring events", "What the programs have to say.")
        .skeleton(false)
        .build_or_exit();
    Builder::new("bpf/keywords.bpf.c").build_or_exit();
    Builder::new("bpf/without_maps.bpf.c").skeleton(false).build_or_exit();
    for version in ["v1", "grown", "shrunk", "reordered"] {
        Builder::new(format!("bpf/pinned_{version}.bpf.c")).include("bpf").build_or_exit();
    }
    Builder::new("bpf/attach.bpf.c").own_type("event", "crate::Event").build_or_exit();
}
