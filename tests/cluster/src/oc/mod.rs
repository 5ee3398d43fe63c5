//! The command line of `oc`, as far as the plugin and a person who tests need it; exit codes and texts are kubectl's.

mod api;
mod exec;
mod kinds;
mod logs;
mod objects;
mod words;

use crate::world::World;
use api::Api;
use words::Words;

/// What a command line has to work with.
pub(crate) struct Oc {
    pub(crate) world: World,
    pub(crate) api: Api,
}

/// Does what a command line says; gives its exit code.
///
/// # Errors
/// What kubectl would print on standard error.
pub fn run(args: impl Iterator<Item = String>) -> Result<u8, String> {
    let words = Words::read(args);
    let world = World::from_env()?;
    let api = Api::open(&world)?;
    let oc = Oc { world, api };
    match words.verb.as_str() {
        "get" => objects::get(&oc, &words),
        "create" => objects::create(&oc, &words),
        "apply" => objects::apply(&oc, &words),
        "delete" => objects::delete(&oc, &words),
        "run" => objects::run(&oc, &words),
        "wait" => objects::wait(&oc, &words),
        "exec" => exec::exec(&oc, &words),
        "logs" => logs::logs(&oc, &words),
        "auth" => Ok(may(&words)),
        "whoami" => {
            println!("system:admin");
            Ok(0)
        }
        other => Err(format!("error: unknown command \"{other}\" for \"oc\"")),
    }
}

/// `auth can-i`: everything is allowed here.
fn may(words: &Words) -> u8 {
    println!("{}", if words.has("list") { "*.*   []   []   [*]" } else { "yes" });
    0
}
