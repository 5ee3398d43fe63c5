//! The two children and what happens to them: role runs, role ended how, how often the user asked to stop.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::{LocalError, report};
use crate::process::{Child, Ending};
use crate::signal::{self, ONE_SIGNAL};

/// Longest time from the start of the collector until it listens.
const LISTEN_TIME: Duration = Duration::from_secs(10);
/// Between two looks at whether it listens.
const LISTEN_TICK: Duration = Duration::from_millis(20);
/// Longest time for the agent to end: it may have a million flows to send.
const GRACE: Duration = Duration::from_secs(60);
/// Longest time for the collector to end: it may have a large database to index. A user role cannot wait has Ctrl-C.
const INDEXING: Duration = Duration::from_secs(300);
/// Longest time for an agent whose collector is gone: it has nowhere to send to.
const LONELY_GRACE: Duration = Duration::from_secs(10);
/// Longest time for a collector to end by itself that has let its agent go.
const LAST_WRITE: Duration = Duration::from_secs(3);
/// The same after a signal, which it may have had from the terminal as well, or not.
const LAST_WRITE_AFTER_SIGNAL: Duration = Duration::from_millis(300);
/// Longest time for children that were asked a second time.
const HURRY: Duration = Duration::from_secs(3);

/// The children, in the order in which they are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Agent,
    Collector,
}

#[derive(Debug)]
enum Event {
    Signal,
    Ended(Role, Ending),
}

/// A child and how it ended.
#[derive(Debug)]
struct Member {
    child: Child,
    ending: Option<Ending>,
    /// We sent SIGTERM or SIGKILL.
    asked: bool,
}

/// A running capture.
#[derive(Debug)]
pub(super) struct Session {
    events: Receiver<Event>,
    sender: Sender<Event>,
    agent: Option<Member>,
    collector: Option<Member>,
    /// The first child that failed, and how.
    failed: Option<(Role, Ending)>,
    /// The child that did not end in its time, and that time.
    stuck: Option<(Role, Duration)>,
    first_signal: Option<Instant>,
    second_signal: bool,
    /// The collector has a screen that stays after the capture has reached its limit, until the user leaves it.
    screen_stays: bool,
}

impl Session {
    /// From now on signals end the session instead of this program.
    pub(super) fn new(screen_stays: bool) -> Result<Self, LocalError> {
        let (sender, events) = channel();
        let note = sender.clone();
        // The other end is gone only when the session is over.
        signal::listen(move || drop(note.send(Event::Signal)))?;
        Ok(Self {
            events,
            sender,
            agent: None,
            collector: None,
            failed: None,
            stuck: None,
            first_signal: None,
            second_signal: false,
            screen_stays,
        })
    }

    /// Takes a child in.
    pub(super) fn start(&mut self, role: Role, child: Child) {
        let note = self.sender.clone();
        child.when_ended(move |ending| drop(note.send(Event::Ended(role, ending))));
        *self.slot(role) = Some(Member { child, ending: None, asked: false });
    }

    /// True when the collector listens; false when the session is to end before it does.
    pub(super) fn wait_until_listening(&mut self, endpoint: &Endpoint) -> Result<bool, LocalError> {
        let deadline = Instant::now() + LISTEN_TIME;
        while Instant::now() < deadline {
            if self.is_over() {
                return Ok(false);
            }
            if endpoint.is_listening() {
                return Ok(true);
            }
            self.next(LISTEN_TICK);
        }
        Err(LocalError::Silent(LISTEN_TIME))
    }

    /// Returns when a child has ended or the user wants to stop.
    pub(super) fn wait_for_a_reason_to_end(&mut self) {
        while !self.is_over() {
            self.next(Duration::MAX);
        }
        if self.first_signal.is_some() {
            report("stopping: waiting for the last flows, Ctrl-C again ends at once");
        }
    }

    /// Ends what still runs: first the agent, so that the collector gets its last flows.
    pub(super) fn finish(&mut self) {
        let grace = if self.running(Role::Collector).is_some() { GRACE } else { LONELY_GRACE };
        self.stop(Role::Agent, grace);
        if self.slot(Role::Agent).as_ref().is_some_and(|m| m.ending.is_some_and(Ending::is_good)) {
            // A collector that ends the capture, because of a limit or a Ctrl-C of its own, is writing now. A signal
            // from here would be one too many: it would end_soon.
            while self.screen_stays && self.first_signal.is_none() && self.running(Role::Collector).is_some() {
                self.next(Duration::MAX);
            }
            let time = if self.first_signal.is_some() { LAST_WRITE_AFTER_SIGNAL } else { LAST_WRITE };
            self.wait_for(Role::Collector, time);
        }
        self.stop(Role::Collector, INDEXING);
    }

    /// What the session comes to.
    pub(super) fn verdict(&mut self) -> Result<(), LocalError> {
        if self.second_signal {
            return Err(LocalError::Hurried);
        }
        if let Some((role, ending)) = self.failed {
            return Err(self.failure(role, ending));
        }
        match self.stuck {
            Some((role, after)) => Err(LocalError::Stuck { title: self.title(role), after }),
            None => Ok(()),
        }
    }

    /// The collector closed its files itself.
    pub(super) fn collector_ended_well(&self) -> bool {
        self.collector.as_ref().is_some_and(|member| member.ending.is_some_and(Ending::is_good))
    }

    fn failure(&mut self, role: Role, ending: Ending) -> LocalError {
        let title = self.title(role);
        let last_error = self.slot(role).as_mut().and_then(|member| member.child.last_error());
        match (role, ending) {
            (Role::Collector, Ending::Code(code @ (1..=3))) => LocalError::AlreadyPrinted(code as u8),
            (Role::Agent, Ending::Code(code)) => LocalError::Reported {
                text: last_error.unwrap_or_else(|| format!("{title} {ending}")),
                code: if code == 2 { 2 } else { 1 },
            },
            _ => LocalError::Died { title, ending },
        }
    }

    fn title(&mut self, role: Role) -> &'static str {
        self.slot(role).as_ref().map_or("a program", |member| member.child.title)
    }

    fn slot(&mut self, role: Role) -> &mut Option<Member> {
        match role {
            Role::Agent => &mut self.agent,
            Role::Collector => &mut self.collector,
        }
    }

    fn running(&mut self, role: Role) -> Option<&mut Member> {
        self.slot(role).as_mut().filter(|member| member.ending.is_none())
    }

    fn is_over(&self) -> bool {
        let ended = |member: &Option<Member>| member.as_ref().is_some_and(|m| m.ending.is_some());
        self.first_signal.is_some() || ended(&self.agent) || ended(&self.collector)
    }

    /// Waits for one event, at most `time`, and notes it.
    fn next(&mut self, time: Duration) {
        match self.events.recv_timeout(time) {
            Ok(Event::Signal) => self.note_signal(),
            Ok(Event::Ended(role, ending)) => self.note_ending(role, ending),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the session holds a sender"),
        }
    }

    fn note_signal(&mut self) {
        match self.first_signal {
            None => self.first_signal = Some(Instant::now()),
            Some(first) => self.second_signal |= first.elapsed() > ONE_SIGNAL,
        }
    }

    fn note_ending(&mut self, role: Role, ending: Ending) {
        let stopping = self.first_signal.is_some();
        let Some(member) = self.slot(role) else { return };
        member.ending = Some(ending);
        // A child that is asked to end before it can catch signals dies of the request, which is no failure.
        let of_the_request = matches!(ending, Ending::Signal(1 | 2 | 15)) && (member.asked || stopping);
        if !ending.is_good() && !of_the_request && self.stuck.is_none_or(|(stuck, _)| stuck != role) {
            self.failed.get_or_insert((role, ending));
        }
    }

    /// Asks a child to end, and kills it when it does not.
    fn stop(&mut self, role: Role, grace: Duration) {
        let no_agent = role == Role::Collector && matches!(self.failed, Some((Role::Agent, Ending::Code(_))));
        let Some(member) = self.running(role) else { return };
        if no_agent {
            member.child.end_without_agent();
        } else {
            member.child.terminate();
        }
        member.asked = true;
        self.wait_for(role, grace);
        if let Some(member) = self.running(role) {
            member.child.kill();
            self.stuck.get_or_insert((role, grace));
            self.wait_for(role, Duration::MAX);
        }
    }

    /// Waits for the end of a child, at most `time`. A second signal ends all children.
    fn wait_for(&mut self, role: Role, time: Duration) {
        let start = Instant::now();
        let mut hurried = self.second_signal;
        while self.running(role).is_some() {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            self.next(left);
            if self.second_signal && !hurried {
                hurried = true;
                self.end_soon();
            }
        }
    }

    /// Asks the children once more, which makes the collector write and end at once; then kills what is left.
    fn end_soon(&mut self) {
        report("stopping at once, without the flows that the agent has not sent yet");
        let all = [Role::Agent, Role::Collector];
        for role in all {
            if let Some(member) = self.running(role) {
                member.child.terminate();
                member.asked = true;
            }
        }
        let deadline = Instant::now() + HURRY;
        while all.iter().any(|role| self.running(*role).is_some()) && Instant::now() < deadline {
            self.next(deadline.saturating_duration_since(Instant::now()));
        }
        for role in all {
            if let Some(member) = self.running(role) {
                member.child.kill();
            }
        }
    }
}
