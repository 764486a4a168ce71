//! [`Output`]: NDJSON, a live table on a terminal, or plain tables elsewhere.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::Common;
use super::table::Table;

/// Where an example prints. stdout is line-buffered whatever it is, and each
/// frame is one write.
pub struct Output {
    json: bool,
    live: bool,
    colour: bool,
    closed: bool,
    /// Lines of the frame on the screen, and its size then.
    drawn: usize,
    size: Option<(usize, usize)>,
}

/// What is shown at a tick.
pub struct Frame<'a> {
    /// The line above: what, how, when.
    pub title: &'a str,
    pub table: &'a Table,
    /// The most rows to show.
    pub rows: usize,
    /// The line below, and whether it is bad news.
    pub footer: &'a str,
    pub alarm: bool,
}

const BOLD: &str = "1";
const FAINT: &str = "2";
const RED: &str = "31";

impl Output {
    pub fn new(args: &Common) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let terminal = io::stdout().is_terminal() && set("TERM").is_none_or(|term| term != "dumb");
        Self {
            json: args.json,
            live: terminal && !args.json && !args.once,
            colour: terminal && !args.json && set("NO_COLOR").is_none(),
            closed: false,
            drawn: 0,
            size: None,
        }
    }

    /// For an example that prints line by line and redraws nothing.
    pub fn stream(args: &Common) -> Self {
        Self { live: false, ..Self::new(args) }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a table is redrawn in place.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether the reader has gone, as `head` does: an end, not a failure.
    pub fn is_closed(&self) -> bool {
        // Asks for nothing, and is told when the reader has gone.
        let stdout = io::stdout();
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let gone = nix::poll::poll(&mut fds, PollTimeout::ZERO);
        self.closed || gone.is_ok_and(|gone| gone > 0)
    }

    /// Prints an object, as [`object`](super::object) makes it, on a line of its own.
    ///
    /// # Errors
    /// Of the write.
    pub fn json(&mut self, object: &str) -> io::Result<()> {
        self.text(&format!("{object}\n"))
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// Of the write. That the reader went away is none: see
    /// [`is_closed`](Self::is_closed).
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result,
        }
    }

    /// Draws a table: over the last one on a terminal, else below it.
    ///
    /// # Errors
    /// Of the write.
    pub fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let size = self.live.then(terminal_size).flatten();
        // Title, titles, footer, and the line where the cursor rests.
        let room = size.map_or(usize::MAX, |(_, height)| height.saturating_sub(4));
        let (titles, rows) = frame.table.lines(frame.rows.min(room));
        let mut lines = vec![frame.title.to_owned(), self.paint(BOLD, &titles)];
        lines.extend(rows.iter().map(
            |(row, faint)| {
                if *faint { self.paint(FAINT, row) } else { row.clone() }
            },
        ));
        lines.push(self.paint(if frame.alarm { RED } else { FAINT }, frame.footer));
        let text = if self.live { self.in_place(&lines, size) } else { lines.join("\n") + "\n\n" };
        self.text(&text)
    }

    fn in_place(&mut self, lines: &[String], size: Option<(usize, usize)>) -> String {
        // Long lines are cut by the terminal: no wrapping, or going up would miss.
        let mut text = String::from("\x1b[?7l");
        if self.size.is_some() && self.size != size {
            // What was there has been wrapped anew, nobody knows how.
            text += "\x1b[H\x1b[2J";
        } else if self.drawn > 0 {
            text += &format!("\r\x1b[{}A", self.drawn);
        }
        for line in lines {
            text += &format!("{line}\x1b[K\n");
        }
        text += "\x1b[J\x1b[?7h";
        (self.drawn, self.size) = (lines.len(), size);
        text
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns and rows.
fn terminal_size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size()?;
    Some((width.0.into(), height.0.into()))
}

/// How long ago, in two units.
pub fn age(now: SystemTime, then: SystemTime) -> String {
    let age = now.duration_since(then).unwrap_or(Duration::ZERO);
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", age.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// The time of day for a title, to the second.
pub fn time_of_day(at: Timestamp) -> String {
    at.strftime("%FT%TZ").to_string()
}
