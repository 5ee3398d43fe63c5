//! What a pod wrote.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::Oc;
use super::words::Words;

pub(crate) fn logs(oc: &Oc, words: &Words) -> Result<u8, String> {
    let name = words.plain.first().map(|name| name.trim_start_matches("pod/")).unwrap_or_default();
    let missing = || format!("Error from server (NotFound): pods \"{name}\" not found");
    let mut file = File::open(oc.world.log_file(words.namespace(), name)).map_err(|_| missing())?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let lines: Vec<_> = text.lines().collect();
    let tail = words.get("tail").and_then(|tail| tail.parse().ok()).unwrap_or(lines.len());
    lines[lines.len().saturating_sub(tail)..].iter().for_each(|line| println!("{line}"));
    if words.has("f") {
        follow(oc, words.namespace(), name, file)?;
    }
    Ok(0)
}

/// Until the pod has no process any more.
fn follow(oc: &Oc, namespace: &str, name: &str, mut file: File) -> Result<(), String> {
    loop {
        // Asked first: what was written before the end is then read after it.
        let runs = oc.world.has_process(namespace, Some(name));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let mut out = io::stdout().lock();
        if out.write_all(&bytes).and_then(|()| out.flush()).is_err() || !runs {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
