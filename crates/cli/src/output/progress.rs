//! Progress on standard error: a bar on a terminal, a plain line now and then elsewhere.

use super::pace;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use transload_observe::{Event, Progress, Sink, View};

/// Without a terminal, a line at most this often.
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar is moved at most this often: a terminal over a slow line must not slow the work.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Shows events as they come.
pub(crate) struct Screen {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    progress: Progress,
    bar: Option<ProgressBar>,
    shown_at: Option<Instant>,
    /// Whether there is anything to show that goes on.
    at_work: bool,
}

impl Screen {
    /// A screen on standard error; without a terminal it writes plain lines.
    #[must_use]
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(bar);
        let state = State { progress: Progress::new(), bar, shown_at: None, at_work: false };
        Self { began: Instant::now(), state: Mutex::new(state) }
    }

    /// Lets somebody else write to standard error while the bar is away.
    pub(crate) fn pause(&self, write: impl FnOnce()) {
        let state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &state.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        let state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = &state.bar {
            bar.finish_and_clear();
        }
    }
}

impl Sink for Screen {
    fn event(&self, event: &Event) {
        let now = self.began.elapsed();
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let limits = state.progress.view(now).limits;
        state.progress.apply(event, now);
        match event {
            Event::Paced { limits: new, .. } if *new != limits => {
                state.line(&format!("limits: {}", pace::limits(new)));
            }
            Event::PhaseChanged { to, reason, .. } => {
                state.line(&format!("{} {reason}", to.replace('_', " ")));
            }
            Event::StageBegan { stage } => {
                state.at_work = true;
                state.line(&format!("{stage} ..."));
            }
            Event::DatabaseBegan { .. } => state.at_work = true,
            Event::StageEnded { .. } => state.at_work = false,
            Event::ChunkRetried { database, chunk, why, .. } => {
                state.line(&format!("{database}: chunk {chunk} is tried again: {why}"));
            }
            Event::StepDone { step } => state.line(step),
            Event::Notice { text } => state.line(text),
            _ => {}
        }
        let mut view = state.progress.view(now);
        if !state.at_work {
            // What workers waited for is told for a while after the work has ended.
            view.waits.clear();
            if matches!(event, Event::Paced { .. }) {
                return;
            }
        }
        state.show(&view);
    }
}

impl State {
    fn line(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // Nobody may be listening any more; progress is no reason to fail.
            None => _ = writeln!(std::io::stderr(), "{text}"),
        }
    }

    fn show(&mut self, view: &View) {
        let every = if self.bar.is_some() { BAR_EVERY } else { PLAIN_LINE_EVERY };
        let first = *self.shown_at.get_or_insert_with(Instant::now);
        if first.elapsed() < every {
            return;
        }
        self.shown_at = Some(Instant::now());
        match &self.bar {
            Some(bar) => {
                bar.set_position(thousandths(view.fraction));
                bar.set_message(describe(view));
            }
            None => _ = writeln!(std::io::stderr(), "{}", describe(view)),
        }
    }
}

/// A fraction from 0 to 1 in steps of the bar.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
fn thousandths(fraction: f64) -> u64 {
    (fraction.clamp(0.0, 1.0) * 1000.0) as u64
}

fn describe(view: &View) -> String {
    let stage = view.stage.map_or("", |stage| stage.name());
    // The fraction is between 0 and 1 and kept in thousandths.
    let percent = view.fraction * 100.0;
    let rate = match view.bytes_per_second {
        0 => String::new(),
        rate => format!(", {}/s", bytesize::ByteSize(rate)),
    };
    let eta = view.eta_seconds.map_or_else(String::new, |left| format!(", {left} s left"));
    let waits = match pace::waits(&view.limits, &view.waits) {
        none if none.is_empty() => none,
        waits => format!(", waiting: {waits}"),
    };
    format!("{stage}: {percent:.1} %{rate}{eta}{waits}")
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}
