//! The command line of `oc`, as far as the plugin and a person who tests need it; exit codes and texts are kubectl's.

mod api;
mod exec;
mod kinds;
mod logs;
mod objects;
mod words;

pub use exec::{hold_pipes, keep_pipes};

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    let args: Vec<String> = args.collect();
    if let Some(plugin) = args.first().and_then(|word| plugin(word)) {
        return become_plugin(&plugin, &args[1..]);
    }
    let words = Words::read(args.into_iter());
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

/// The program that a command stands for that is not one of oc's own: `oc-COMMAND` on PATH.
fn plugin(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(format!("oc-{command}")));
    found.into_iter().find(|program| program.is_file())
}

fn become_plugin(program: &Path, args: &[String]) -> Result<u8, String> {
    let name = program.file_name().unwrap_or_default().as_bytes();
    let words = std::iter::once(name).chain(args.iter().map(String::as_bytes)).map(CString::new);
    let words = words.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let path = CString::new(program.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let error = nix::unistd::execv(&path, &words).err();
    Err(format!("error: {}: {}", program.display(), error.map_or("it is gone", nix::errno::Errno::desc)))
}

/// `auth can-i`: everything is allowed here.
fn may(words: &Words) -> u8 {
    println!("{}", if words.has("list") { "*.*   []   []   [*]" } else { "yes" });
    0
}
