//! What ends a capture, and the wait for what agents still have.

use std::time::{Duration, Instant};

use netobserv_stdio::{self as stdio, Broken};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::stop_view;
use crate::cli::Options;
use crate::control::{Asked, Running};
use crate::counts::Counts;
use crate::human;
use crate::signals::{Kind, Signals};
use crate::view::View;

/// Longest silence of the agents that still owe their last word.
const GRACE: Duration = Duration::from_secs(2);
/// Longest time for all last words together: a large table on a slow machine takes a while.
const LONGEST: Duration = Duration::from_secs(30);
/// An agent that was silent for this long before the end is not waited for.
const ALIVE: Duration = Duration::from_secs(5);
/// How often it is looked whether standard output has a reader.
const LOOK_AT_OUTPUT: Duration = Duration::from_millis(100);
/// How often the agents' last words are looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Why a capture ends.
pub(crate) enum End {
    Signal(Kind),
    /// Its time is over.
    Time(String),
    /// Its file is large enough.
    Size(String),
    /// It was requested from outside.
    Asked,
    /// Its pod is being removed.
    Removed,
    /// The lease was not renewed for this long.
    Lease(Duration),
    /// Standard output takes no more.
    Output(Broken),
    Failed,
}

/// How long a capture may take.
#[derive(Clone, Copy, Default)]
pub(crate) struct Period {
    pub(crate) limit: Duration,
    /// How long it rested at earlier limits, which does not count.
    pub(crate) rested: Duration,
}

impl Period {
    /// As it was asked for.
    pub(crate) fn of(options: &Options) -> Option<Self> {
        options.max_time.map(|limit| Self { limit, rested: Duration::ZERO })
    }
}

/// Waits until the files are `done`. When the user asks again after the `first` signal, `hurry` may give a result at once.
pub(super) async fn until_done<T>(
    done: impl Future<Output = T>,
    signals: &mut Signals,
    mut first: Option<Kind>,
    mut hurry: impl FnMut() -> Option<T>,
) -> T {
    tokio::pin!(done);
    loop {
        tokio::select! {
            result = &mut done => return result,
            kind = signals.next() => {
                if first.is_some_and(|first| first.hurried_by(kind))
                    && let Some(result) = hurry()
                {
                    return result;
                }
                first = first.or(Some(kind));
            }
        }
    }
}

/// Waits for one of the reasons to end.
pub(crate) async fn until_end(
    (options, limit_of_time): (&Options, Option<Period>),
    (started, counts): (Instant, &Counts),
    signals: &mut Signals,
    limit: &Notify,
    failed: impl Future<Output = ()>,
    running: &mut Option<Running>,
    view: &mut Option<View>,
) -> End {
    let time = async {
        match limit_of_time {
            Some(period) => passed(period.limit + period.rested, started, counts).await,
            None => std::future::pending().await,
        }
    };
    let outlives_terminal = running.as_ref().is_some_and(Running::has_lease);
    let asked = async {
        match running {
            Some(running) => running.asked().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time, asked, failed);
    loop {
        tokio::select! {
            kind = signals.next() => {
                if kind != Kind::HangUp || !outlives_terminal {
                    return End::Signal(kind);
                }
                stop_view(view.take()).await;
                info!("the terminal is gone: capturing on while the session is renewed");
            }
            () = &mut time => return End::Time(human::duration(limit_of_time.unwrap_or_default().limit)),
            () = limit.notified() => return End::Size(human::bytes(options.max_bytes.unwrap_or_default())),
            asked = &mut asked => return match asked {
                Asked::Finish => End::Asked,
                Asked::Removed => End::Removed,
                Asked::Lease(time) => End::Lease(time),
            },
            // In the background it is a log.
            broken = stdout_broken(), if !options.background => return End::Output(broken),
            // Packets that go to standard output fail with it.
            () = &mut failed => return stdio::stdout().broken().map_or(End::Failed, End::Output),
        }
    }
}

/// Returns when standard output takes no more.
pub(super) async fn stdout_broken() -> Broken {
    loop {
        if let Some(broken) = stdio::stdout().broken() {
            return broken;
        }
        sleep(LOOK_AT_OUTPUT).await;
    }
}

/// Returns when a capture has taken this long, which does not count before the agents watch their interfaces.
async fn passed(time: Duration, started: Instant, counts: &Counts) {
    loop {
        let now = Instant::now();
        let left = time.saturating_sub(now.saturating_duration_since(counts.beginning().of(started, now)));
        if left.is_zero() {
            return;
        }
        // Agents may be heard of, and begin, in the meantime.
        sleep(left.min(LOOK)).await;
    }
}

impl End {
    pub(crate) fn reason(&self) -> String {
        match self {
            End::Signal(kind) => kind.to_string(),
            End::Time(limit) | End::Size(limit) => format!("reached {limit}"),
            End::Asked => "finished on request".into(),
            End::Removed => "ended: the pod of the collector is being removed".into(),
            End::Lease(time) => format!("ended: it was not renewed for {}", human::duration(*time)),
            End::Output(Broken::Gone) => "ended: the reader of standard output has gone".into(),
            End::Output(broken) => format!("ended: cannot write standard output: {broken}"),
            End::Failed => "failed".into(),
        }
    }

    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, End::Time(_) | End::Size(_))
    }

    pub(crate) fn farewell(&self) -> String {
        match self {
            End::Time(limit) | End::Size(limit) => format!("Capture reached {limit}, exiting now..."),
            other => format!("Capture {}, exiting now...", other.reason()),
        }
    }

    /// Whether a capture without flows or packets has not begun: no agent could start, and the program that started this one
    /// reports why.
    pub(crate) fn is_in_vain(&self, options: &Options, counts: &Counts) -> bool {
        options.child && (matches!(self, End::Signal(Kind::NoAgent)) || counts.totals().agents == 0)
    }

    /// The end of a capture that has not begun: an error, unless it was asked to end.
    pub(crate) fn without_agents(&self) -> anyhow::Result<()> {
        match self {
            End::Signal(_) => Ok(()),
            other => {
                anyhow::bail!("no agent reported anything until the capture {}: nothing was captured", other.reason())
            }
        }
    }

    pub(crate) fn signal(&self) -> Option<Kind> {
        if let End::Signal(kind) = self { Some(*kind) } else { None }
    }
}

/// Waits for what the agents still have: until each has sent its last message, those that owe it are silent, or a second signal comes.
///
/// True when a signal came.
pub(crate) async fn drain(counts: &Counts, failed: impl Future<Output = ()>, signals: &mut Signals) -> bool {
    tokio::select! {
        () = last_words(counts) => false,
        kind = signals.next() => {
            debug!("{kind} again: not waiting for the agents");
            true
        }
        () = failed => false,
    }
}

async fn last_words(counts: &Counts) {
    let since = Instant::now();
    while let Some(heard) = counts.owed_since(since, ALIVE) {
        if heard.max(since).elapsed() > GRACE || since.elapsed() > LONGEST {
            return warn!("some agents did not send their last message");
        }
        sleep(LOOK).await;
    }
}
