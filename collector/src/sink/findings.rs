//! What watches the records for what goes wrong, as if it were a file.

use netobserv_wire::Flow;

use super::{Sink, SinkError};
use crate::why::Watcher;

impl Sink for Watcher {
    fn name(&self) -> &'static str {
        "findings"
    }

    fn write(&mut self, rows: &[Flow]) -> Result<(), SinkError> {
        self.look(rows);
        Ok(())
    }

    fn finish(&mut self, _: bool) -> Result<(), SinkError> {
        Ok(())
    }

    fn lost(&mut self, _: usize) {}
}
