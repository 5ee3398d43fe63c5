//! Why packets were dropped: the kernel's numbers, and the names that the collector gets for them.

use std::sync::{Arc, Mutex};

use crate::drops::Causes;

/// The causes seen so far; shared by the thread that reads and the one that sends.
#[derive(Clone, Default)]
pub struct CauseList {
    names: Causes,
    seen: Arc<Mutex<Vec<u32>>>,
}

impl CauseList {
    /// None seen yet. `names` are those of the running kernel.
    pub fn new(names: Causes) -> Self {
        Self { names, seen: Arc::default() }
    }

    /// What stands for this reason in the records: 0 for the reason 0, which is none.
    pub fn number(&self, reason: u32) -> u16 {
        if reason == 0 {
            return 0;
        }
        let mut seen = self.seen.lock().expect("no panic under the lock");
        let at = seen.iter().position(|known| *known == reason).unwrap_or_else(|| {
            seen.push(reason);
            seen.len() - 1
        });
        at as u16 + 1
    }

    /// The names of all numbers, from 1.
    pub fn names(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("no panic under the lock");
        seen.iter().map(|reason| self.names.name(*reason).as_ref().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_as_they_come() {
        let causes = CauseList::default();
        assert_eq!([0, 70, 9, 70].map(|reason| causes.number(reason)), [0, 1, 2, 1]);
        assert_eq!(causes.names(), ["70", "9"], "without a name, the kernel's number");
    }
}
