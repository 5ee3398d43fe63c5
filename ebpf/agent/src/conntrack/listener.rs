//! Reads the sockets of all namespaces into the table.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Translations, lock,
    message::News,
    refusal,
    source::{Read, Source},
    table::Table,
};

/// How often all connections are asked for. For those that are older than the socket the kernel does not always report the end.
const LIST: Duration = Duration::from_secs(60);
/// A list takes at most one part in so many of the time.
const LIST_SHARE: u32 = 100;
/// How often the kernel is asked how full its table is.
const FILLING: Duration = Duration::from_secs(2);

/// Lists in a row that are asked for before others have their turn.
const MOST_LISTS: usize = 3;

/// A namespace.
struct Followed {
    /// The task that follows the namespace has it too.
    source: Arc<Source>,
    netns: u32,
    /// Number of the list that was asked for last.
    list: u8,
    /// It is not complete yet.
    listing: bool,
    /// Another one is needed after it.
    again: bool,
    asked: Instant,
    next_list: Instant,
    next_filling: Instant,
    /// Messages that the socket has lost so far.
    lost: u64,
}

/// All namespaces.
pub(super) struct Listener {
    translations: Translations,
    followed: Vec<Followed>,
    buffer: Vec<u8>,
}

impl Listener {
    pub(super) fn new(translations: Translations) -> Self {
        Self { translations, followed: vec![], buffer: vec![] }
    }

    pub(super) fn is_following(&self) -> bool {
        !self.followed.is_empty() || !lock(&self.translations.opened).is_empty()
    }

    /// Reads what has come.
    pub(super) fn read(&mut self, table: &mut Table) {
        let opened = std::mem::take(&mut *lock(&self.translations.opened));
        self.followed.extend(opened.into_iter().map(Followed::new));
        let now = Instant::now();
        let Self { translations, followed, buffer } = self;
        // One that is not followed any more is read a last time: the packets of its last messages are still to be reported.
        let still = followed.iter().map(|namespace| Arc::strong_count(&namespace.source) > 1).collect::<Vec<_>>();
        for namespace in &mut *followed {
            let source = namespace.source.clone();
            if let Err(error) = namespace.read(&source, translations, table, buffer, now) {
                translations.unknown.add(&source.label, &refusal(&error));
            }
        }
        let (there, gone): (Vec<_>, Vec<_>) =
            std::mem::take(followed).into_iter().zip(still).partition(|(_, still)| *still);
        *followed = there.into_iter().map(|(namespace, _)| namespace).collect();
        for (Followed { netns, .. }, _) in gone {
            // It may be followed again.
            if followed.iter().all(|other| other.netns != netns) {
                table.sweep(netns, |_| false);
            }
        }
        translations.unknown.refuse(table.refused());
    }
}

impl Followed {
    fn new(source: Arc<Source>) -> Self {
        let netns = source.netns;
        let now = Instant::now();
        let (next_list, next_filling) = (now + LIST, now);
        // The list was asked for when the socket was opened.
        Self { source, netns, list: 1, listing: true, again: false, asked: now, next_list, next_filling, lost: 0 }
    }

    fn read(
        &mut self,
        source: &Source,
        translations: &Translations,
        table: &mut Table,
        buffer: &mut Vec<u8>,
        now: Instant,
    ) -> io::Result<()> {
        if now >= self.next_list {
            self.list(source, now)?;
        }
        if now >= self.next_filling {
            self.next_filling = now + FILLING;
            source.ask_filling()?;
        }
        for _ in 0..MOST_LISTS {
            self.read_all(source, translations, table, buffer)?;
            if !self.again || self.listing {
                break;
            }
            self.list(source, now)?;
        }
        Ok(())
    }

    /// Reads until nothing is left.
    fn read_all(
        &mut self,
        source: &Source,
        translations: &Translations,
        table: &mut Table,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        loop {
            let (mut listed, mut failed) = (None, None);
            let read = source.read(buffer, |news| match news {
                News::Open(connection) => table.open(self.netns, connection, self.list),
                News::Closed(connection) => table.close(self.netns, &connection),
                News::Filling(entries, most) => note_full(translations, source, entries, most),
                News::Listed(interrupted) => listed = Some(interrupted),
                News::Refused(errno) => failed = Some(errno),
            })?;
            if let Some(interrupted) = listed {
                self.listing = false;
                self.again |= interrupted;
                self.next_list = Instant::now() + LIST.max(self.asked.elapsed() * LIST_SHARE);
                if !interrupted {
                    let list = self.list;
                    // A list may miss what moves while it is made; two in a row do not.
                    table.sweep(self.netns, |number| number == list || number == list.wrapping_sub(1));
                }
            }
            if let Some(errno) = failed {
                self.listing = false;
                if errno != libc::EBUSY {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                self.again = true;
            }
            let Read::Lost(lost) = read else { return Ok(()) };
            translations.unknown.lose(lost.saturating_sub(self.lost).max(1));
            (self.lost, self.again) = (lost.max(self.lost), true);
        }
    }

    fn list(&mut self, source: &Source, now: Instant) -> io::Result<()> {
        source.list()?;
        self.list = self.list.wrapping_add(1);
        (self.listing, self.again, self.asked, self.next_list) = (true, false, now, now + LIST);
        Ok(())
    }
}

/// From there on the kernel forgets connections before their time, or drops packets of new ones.
fn note_full(translations: &Translations, source: &Source, entries: u32, most: u32) {
    if most > 0 && entries > most / 100 * 95 {
        let reason = format!("the kernel's table of connections was full (net.netfilter.nf_conntrack_max is {most})");
        translations.unknown.add(&source.label, &reason);
    }
}
