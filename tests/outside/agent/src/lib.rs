//! The skeleton that the build script made.

include!(concat!(env!("OUT_DIR"), "/calls.skel.rs"));
