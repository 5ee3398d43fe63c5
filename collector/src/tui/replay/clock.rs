//! The clock of a replay: where it is in the capture, how fast it goes, and where it was sent.

use std::time::Duration;

/// Speeds, as many times that of the capture.
const SPEEDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1_000.0];
const USUAL: usize = 3;
/// A jump is this part of the capture.
const JUMPS: u64 = 20;

/// A problem, and when it was found, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: u64,
    pub(super) what: String,
}

/// Where it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// To this time.
    Time(u64),
    /// To where the next problem is found.
    Problem,
}

/// All times are milliseconds since 1970.
#[derive(Clone, Debug)]
pub(in crate::tui) struct Clock {
    pub(super) from: u64,
    pub(super) to: u64,
    at: f64,
    speed: usize,
    pub(super) playing: bool,
    pub(super) goal: Option<Goal>,
    /// The same when it was last asked until when to read.
    asked: Option<Goal>,
    /// The capture has to be read from its beginning again.
    again: bool,
    /// The earliest first.
    pub(super) marks: Vec<Mark>,
    /// No problem came before the end.
    pub(super) no_more: bool,
}

impl Clock {
    /// Starts at the beginning of a capture, and plays. `speed` is the nearest of those that there are.
    pub(in crate::tui) fn new(from: u64, to: u64, speed: f64) -> Self {
        let distance = |index: &usize| (SPEEDS[*index] - speed).abs();
        let nearest = (0..SPEEDS.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)));
        Self {
            from,
            to: to.max(from),
            at: from as f64,
            speed: nearest.unwrap_or(USUAL),
            playing: true,
            goal: None,
            asked: None,
            again: false,
            marks: Vec::new(),
            no_more: false,
        }
    }

    /// What it shows.
    pub(super) fn at(&self) -> u64 {
        self.at as u64
    }

    /// The same as a time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.at().saturating_sub(self.from))
    }

    pub(super) fn speed(&self) -> f64 {
        SPEEDS[self.speed]
    }

    /// So much real time has gone by: until when to read now, and whether from the beginning again.
    pub(super) fn advance(&mut self, real: Duration) -> (u64, bool) {
        let again = std::mem::take(&mut self.again);
        self.asked = self.goal;
        let target = match self.goal {
            Some(Goal::Time(time)) => time as f64,
            Some(Goal::Problem) => self.to as f64,
            None if self.playing => self.at + real.as_secs_f64() * 1e3 * self.speed(),
            None => self.at,
        };
        if self.goal.is_none() {
            // Fractions of a millisecond count.
            self.at = target.min(self.to as f64);
        }
        ((target as u64).min(self.to), again)
    }

    /// Everything until `read` is shown; `all`: and nothing else comes until `target`.
    pub(super) fn reached(&mut self, read: u64, target: u64, all: bool) {
        // It was sent elsewhere meanwhile.
        if self.again || self.goal != self.asked {
            return;
        }
        if !all {
            // It waits for what is not read yet.
            self.at = read.clamp(self.from, target.max(self.from)) as f64;
            return;
        }
        if let Some(goal) = self.goal.take() {
            self.at = target as f64;
            if goal == Goal::Problem {
                (self.playing, self.no_more) = (false, true);
            }
        }
        self.playing &= self.at() < self.to;
    }

    /// A problem was found; returns whether that is what it was sent for.
    pub(super) fn found(&mut self, at: u64, what: String) -> bool {
        self.marks.push(Mark { at, what });
        self.marks.sort_by_key(|mark| mark.at);
        if self.goal != Some(Goal::Problem) {
            return false;
        }
        (self.goal, self.at, self.playing) = (None, at as f64, false);
        true
    }

    /// Plays or pauses; from the end it begins again.
    pub(super) fn toggle(&mut self) {
        if self.goal.take().is_some() {
            self.playing = false;
            return;
        }
        self.playing = !self.playing;
        if self.playing && self.at() >= self.to {
            self.go(self.from);
        }
    }

    pub(super) fn faster(&mut self, steps: isize) {
        self.speed = self.speed.saturating_add_signed(steps).min(SPEEDS.len() - 1);
    }

    /// To a time. What lies before it is read from the beginning if it was passed already.
    pub(super) fn go(&mut self, time: u64) {
        let time = time.clamp(self.from, self.to);
        if time < self.at() {
            (self.again, self.at) = (true, self.from as f64);
        }
        (self.goal, self.no_more) = (Some(Goal::Time(time)), false);
    }

    /// Forward or back by a part of the capture.
    pub(super) fn jump(&mut self, steps: i64) {
        let length = ((self.to - self.from) / JUMPS).max(1) as i64;
        let from = if let Some(Goal::Time(time)) = self.goal { time } else { self.at() };
        self.go(from.saturating_add_signed(length * steps));
    }

    /// To the next problem: one that is known, else the next that is found.
    pub(super) fn next_problem(&mut self) {
        let known = self.marks.iter().find(|mark| mark.at > self.at()).map(|mark| mark.at);
        match known {
            Some(time) => self.stop_at(time),
            None => (self.goal, self.no_more) = (Some(Goal::Problem), false),
        }
    }

    /// To the problem before.
    pub(super) fn previous_problem(&mut self) {
        let known = self.marks.iter().rev().find(|mark| mark.at < self.at()).map(|mark| mark.at);
        self.stop_at(known.unwrap_or(self.from));
    }

    fn stop_at(&mut self, time: u64) {
        self.go(time);
        self.playing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> Clock {
        Clock::new(10_000, 70_000, 1.0)
    }

    /// A second of real time, in which everything is read.
    fn second(clock: &mut Clock) -> u64 {
        let (target, _) = clock.advance(SECOND);
        clock.reached(target, target, true);
        clock.at()
    }

    #[test]
    fn it_plays_faster_stands_still_and_ends() {
        let mut clock = clock();
        assert_eq!(second(&mut clock), 11_000);
        clock.faster(2);
        assert_eq!((second(&mut clock), clock.speed()), (16_000, 5.0));
        clock.toggle();
        assert_eq!(second(&mut clock), 16_000);
        clock.toggle();
        clock.faster(99);
        assert_eq!((second(&mut clock), clock.playing), (70_000, false));
        clock.toggle();
        assert_eq!(clock.advance(Duration::ZERO), (10_000, true), "it begins again");
    }

    #[test]
    fn it_waits_for_what_is_not_read() {
        let mut clock = Clock::new(0, 60_000, 1_000.0);
        let (target, _) = clock.advance(SECOND);
        clock.reached(3_000, target, false);
        assert_eq!((clock.at(), clock.playing), (3_000, true));
    }

    #[test]
    fn a_jump_back_reads_again_and_one_forward_does_not() {
        let mut clock = clock();
        clock.jump(2);
        assert_eq!(clock.advance(SECOND), (16_000, false));
        clock.reached(12_000, 16_000, false);
        assert_eq!((clock.at(), clock.goal), (12_000, Some(Goal::Time(16_000))));
        clock.reached(15_500, 16_000, true);
        assert_eq!((clock.at(), clock.goal, clock.playing), (16_000, None, true));
        clock.jump(-1);
        // What was on its way when the key came does not count.
        clock.reached(17_000, 17_000, true);
        assert_eq!(clock.advance(SECOND), (13_000, true));
        clock.reached(13_000, 13_000, true);
        assert_eq!((clock.at(), clock.advance(Duration::ZERO).1), (13_000, false));
    }

    #[test]
    fn where_it_is_sent_while_it_is_read_is_not_reached_yet() {
        for send in [Clock::next_problem, |clock: &mut Clock| clock.jump(3)] {
            let mut clock = clock();
            let (target, _) = clock.advance(SECOND);
            send(&mut clock);
            clock.reached(target, target, true);
            assert!(clock.goal.is_some() && clock.at() == 11_000 && !clock.no_more);
        }
    }

    #[test]
    fn it_stops_at_problems_and_knows_them_afterwards() {
        let mut clock = clock();
        clock.next_problem();
        assert_eq!(clock.advance(SECOND).0, 70_000);
        assert!(clock.found(20_000, "Blocked".into()));
        clock.reached(20_500, 70_000, false);
        assert_eq!((clock.goal, clock.playing), (None, false));
        clock.next_problem();
        let (target, _) = clock.advance(SECOND);
        clock.reached(70_000, target, true);
        assert_eq!((clock.at(), clock.no_more), (70_000, true));
        clock.previous_problem();
        assert_eq!(clock.advance(SECOND), (20_000, true));
        clock.reached(20_000, 20_000, true);
        clock.previous_problem();
        assert_eq!(clock.advance(SECOND), (10_000, true), "before the first is the beginning");
        clock.reached(10_000, 10_000, true);
        clock.next_problem();
        assert_eq!((clock.goal, clock.no_more), (Some(Goal::Time(20_000)), false));
    }
}
