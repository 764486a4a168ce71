//! Maps without probes: created, and opened from an object that was compiled
//! elsewhere.
#![forbid(unsafe_code)]

use std::error::Error;
use std::thread;

use bpf_atlas::{Hash, LruPerCpuHash, PerCpu, agent};

struct Maps {
    mine: LruPerCpuHash<u32, u64>,
    theirs: Hash<u32, u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("no object named")?;
    let object = agent::load(agent::open_file(path)?)?;
    let attached = agent::Attached::new(&object)?;
    drop(object);
    let maps = Maps {
        mine: LruPerCpuHash::create("mine", 4000)?,
        theirs: Hash::open(attached.map("present")?)?,
    };
    maps.mine.update_all((0..1000).map(|key| (key, PerCpu::on_cpu(0, key.into()))))?;
    maps.theirs.update(1, 7)?;
    let reader = thread::spawn(move || {
        let (sum, entries) = (maps.mine.sum()?, maps.mine.count()?);
        println!("{sum} in {entries} entries, {} in the object's map", maps.theirs.sum()?);
        Ok::<_, bpf_atlas::Error>(())
    });
    reader.join().map_err(|_| "the thread panicked")??;
    Ok(())
}
