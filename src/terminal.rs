//! The user at the terminal: who it is, and questions to them.

mod identity;
mod question;

pub(crate) use identity::user_and_host;
pub(crate) use question::ask;
