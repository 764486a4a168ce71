//! Nothing to build: being here lets the checks of `bpf-atlas-preflight`, a
//! build dependency, run before what would fail for want of a package.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
