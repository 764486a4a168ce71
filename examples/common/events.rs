//! A stream of events, printed as they come.

use std::error::Error;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bpf_atlas::probes::{ExecEvents, Health, ProbeError, TcpRetransmits};

use super::args::Common;
use super::clock::{Clock, Wake};
use super::loss::Loss;
use super::output::Output;

/// A probe whose events come through a ring.
pub trait EventProbe: AsFd {
    fn wait(&mut self, timeout: Duration) -> bpf_atlas::Result<bool>;
    fn health(&self) -> Result<Health, ProbeError>;
}

impl EventProbe for ExecEvents {
    fn wait(&mut self, timeout: Duration) -> bpf_atlas::Result<bool> {
        ExecEvents::wait(self, timeout)
    }

    fn health(&self) -> Result<Health, ProbeError> {
        ExecEvents::health(self)
    }
}

impl EventProbe for TcpRetransmits {
    fn wait(&mut self, timeout: Duration) -> bpf_atlas::Result<bool> {
        TcpRetransmits::wait(self, timeout)
    }

    fn health(&self) -> Result<Health, ProbeError> {
        TcpRetransmits::health(self)
    }
}

/// What one look at the ring prints.
pub struct Page {
    text: String,
    left: usize,
}

impl Page {
    /// Whether another line is wanted.
    pub fn has_room(&self) -> bool {
        self.left > 0
    }

    /// Adds a line, without its end.
    pub fn line(&mut self, line: &str) {
        self.left -= 1;
        self.text += line;
        self.text.push('\n');
    }
}

/// Prints `title` and what `drain` makes of the events until the time is over, enough
/// lines are printed, or nobody reads them; and what was lost. `drain` gives how many
/// events there were.
pub fn follow<P: EventProbe>(
    args: &Common,
    clock: &mut Clock,
    probe: &mut P,
    title: &str,
    mut drain: impl FnMut(&mut P, &mut Page) -> Result<usize, ProbeError>,
) -> Result<(), Box<dyn Error>> {
    let mut output = Output::stream(args);
    let mut loss = Loss::new("raise --ring-size");
    if !args.json {
        output.text(&format!("{title}\n"))?;
    }
    let mut page = Page { text: String::new(), left: args.top.unwrap_or(usize::MAX) };
    loop {
        let wake = clock.wait(Some(probe.as_fd()))?;
        let began = Instant::now();
        page.text.clear();
        let seen = drain(probe, &mut page)?;
        output.text(&page.text)?;
        let last = wake == Wake::Last || !page.has_room() || output.is_closed();
        match wake {
            // A record is under way, and the descriptor says so until it is there.
            Wake::Ready if seen == 0 => {
                probe.wait(Duration::from_millis(1))?;
            }
            Wake::Ready if !last => {}
            _ => loss.note(&probe.health()?, began.elapsed(), &mut output)?,
        }
        if last {
            break;
        }
    }
    loss.summary(&mut output)?;
    Ok(())
}
