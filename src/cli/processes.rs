//! The options that select by process, on this machine.

use clap::Args;

/// What one end of a flow has to be.
#[derive(Debug, Default, Clone, Args)]
pub struct ProcessArgs {
    /// Keep only flows of a process of this name, at either end; may be repeated
    #[arg(long, value_name = "NAME", action = clap::ArgAction::Append)]
    pub process: Vec<String>,
    /// Keep only flows of this process
    #[arg(long, value_name = "PID", allow_negative_numbers = true, action = clap::ArgAction::Append)]
    pub pid: Vec<String>,
    /// Keep only flows of the container whose ID starts like this
    #[arg(long, value_name = "ID", action = clap::ArgAction::Append)]
    pub container: Vec<String>,
    /// Keep only flows of this control group and of those below it
    #[arg(long, value_name = "PATH", action = clap::ArgAction::Append)]
    pub cgroup: Vec<String>,
}

impl ProcessArgs {
    /// The first of these options that was typed.
    pub fn typed(&self) -> Option<&'static str> {
        let all =
            [("process", &self.process), ("pid", &self.pid), ("container", &self.container), ("cgroup", &self.cgroup)];
        all.into_iter().find(|(_, values)| !values.is_empty()).map(|(option, _)| option)
    }
}
