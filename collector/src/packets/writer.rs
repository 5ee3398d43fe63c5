//! The one thread that writes packets: it puts them in order, explains them, and writes what is due a few times a second.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime};

use netobserv_wire::flow::HolderRef;
use netobserv_wire::packet::Direction;
use tokio::sync::Notify;
use tracing::warn;

use super::comment;
use super::filter::Filter;
use super::headers::Ends;
use super::intake::{Delivery, Outlet, weight};
use super::keylog::Keylog;
use super::once::Once;
use super::packet_file::PacketFile;
use super::places::{Place, Places};
use super::screen::Sightings;
use super::talks::{NameLookup, Names, Talks};
use super::tally::Tally;
use super::window::{LONG_WAIT, Seen, WAIT, Window, cost};
use crate::cli::packets::{Comments, PacketOptions, Sightings as Wanted};
use crate::feed::Feed;
use crate::sink::SinkError;
use crate::sink::output_file::{Failed, OutputFile};
use crate::sink::pcapng::{Frame, Interface, Section};

/// How often packets are let through and written.
const TICK: Duration = Duration::from_millis(50);
/// Bytes after which is written at once.
const WRITE: usize = 1 << 20;
/// How often the counters of the interfaces are written.
const STATISTICS: Duration = Duration::from_secs(10);
/// A block of a packet is at most so much longer than its bytes, comments aside.
const AROUND: usize = 96;

/// What the writer needs.
pub struct Setup {
    /// Options of the capture.
    pub options: PacketOptions,
    /// The description of the capture in the file.
    pub section: Section,
    /// What packets must match.
    pub wanted: Option<Filter>,
    /// The options that chose packets, in words.
    pub filter: String,
    /// Names ends.
    pub who: Option<NameLookup>,
    /// Counts.
    pub tally: Arc<Tally>,
    /// Most bytes of all files, and what to notify.
    pub limit: (Option<u64>, Arc<Notify>),
    /// A screen that wants to see packets once they are written.
    pub screen: Option<Feed<Sightings>>,
}

/// How the writer's work ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Done {
    /// All is written.
    All,
    /// Standard output has no reader any more.
    Gone,
}

/// Writes packets.
pub struct Writer {
    setup: Setup,
    outlet: Outlet,
    window: Window,
    /// Chooses one sighting of each packet, unless all are wanted.
    once: Option<Once>,
    places: Places,
    talks: Talks,
    keylog: Option<Keylog>,
    packet_file: PacketFile,
    output_file: OutputFile,
    /// Losses of each place that a packet reported.
    told_lost: Vec<u64>,
    /// Names of the places, for the screen.
    labels: Arc<[Arc<str>]>,
    /// Packets that are still to be written.
    pending: u64,
    start_ns: u64,
    counted_at: Instant,
}

impl Writer {
    /// Begins the file.
    ///
    /// # Errors
    /// When its head cannot be written.
    pub fn new(setup: Setup, outlet: Outlet, output_file: OutputFile) -> Result<Self, SinkError> {
        let packet_file = PacketFile::new(setup.options.format, &setup.section).map_err(malformed)?;
        let mut writer = Self {
            outlet,
            window: Window::new(if setup.options.keylog_sent { LONG_WAIT } else { WAIT }),
            once: (setup.options.sightings == Wanted::First).then(Once::default),
            places: Places::default(),
            talks: Talks::new(setup.who.clone()),
            keylog: setup.options.keylog.clone().map(Keylog::new),
            packet_file,
            output_file,
            told_lost: vec![],
            labels: Arc::default(),
            pending: 0,
            start_ns: now_ns(),
            counted_at: Instant::now(),
            setup,
        };
        writer.flush().map_err(|failed| failed.why)?;
        Ok(writer)
    }

    /// Writes until nothing more comes. `failed` is notified when that ends early; what comes then is counted as lost.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn run(mut self, failed: &Notify) -> (Vec<PathBuf>, Result<Done, SinkError>) {
        let result = self.work().and_then(|()| self.finish());
        let done = match result {
            Ok(()) => Ok(Done::All),
            Err(failure) => {
                failed.notify_one();
                self.give_up();
                if failure.gone { Ok(Done::Gone) } else { Err(failure.why) }
            }
        };
        (self.output_file.files(), done)
    }

    fn work(&mut self) -> Result<(), Failed> {
        let mut next = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            match self.outlet.deliveries.recv_timeout(next.saturating_duration_since(now)) {
                Ok(delivery) => self.take(delivery),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let now = Instant::now();
            if now >= next || self.window.is_crowded() {
                self.tick(now)?;
                next = now + TICK;
            }
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let Delivery { source, interfaces, packets } = delivery;
        self.places.heard(&source, &interfaces);
        self.outlet.free(weight(&interfaces));
        let (mut last, mut seen) = (None, Vec::with_capacity(packets.len()));
        let (mut filtered, mut freed) = (0, 0);
        for packet in packets {
            let known = last.filter(|(id, _)| *id == packet.interface);
            let place = known.map_or_else(|| self.places.find(&source, packet.interface), |(_, place)| place);
            last = Some((packet.interface, place));
            let where_seen = &self.places.all()[place];
            if self.setup.wanted.as_mut().is_some_and(|filter| !filter.keeps(&packet, where_seen)) {
                filtered += 1;
                freed += cost(&packet);
                continue;
            }
            seen.push(Seen { packet, place, lost: self.newly_lost(place) });
        }
        self.outlet.free(freed);
        self.setup.tally.filtered.fetch_add(filtered, Relaxed);
        self.window.add(seen.into_iter(), Instant::now());
    }

    /// Writes what is due.
    fn tick(&mut self, now: Instant) -> Result<(), Failed> {
        self.read_secrets();
        let due = self.window.due(now).collect();
        let due = self.choose(due);
        self.add_all(&due)?;
        self.show(due);
        if now.duration_since(self.counted_at) >= STATISTICS {
            self.counted_at = now;
            self.statistics()?;
        }
        self.flush()
    }

    /// Writes what is left, and the counters.
    fn finish(&mut self) -> Result<(), Failed> {
        self.read_secrets();
        let rest = self.window.all().collect();
        let rest = self.choose(rest);
        self.add_all(&rest)?;
        self.statistics()?;
        self.flush()
    }

    /// Leaves out the sightings that are not wanted.
    fn choose(&mut self, mut seen: Vec<Seen>) -> Vec<Seen> {
        let Some(once) = &mut self.once else { return seen };
        let (before, mut freed) = (seen.len(), 0);
        seen.retain_mut(|seen| {
            let keeps = once.keeps(seen);
            if !keeps {
                freed += cost(&seen.packet);
            }
            keeps
        });
        self.outlet.free(freed);
        self.setup.tally.sightings.fetch_add((before - seen.len()) as u64, Relaxed);
        seen
    }

    /// Lets the screen see packets, if there is one and it keeps up.
    fn show(&mut self, seen: Vec<Seen>) {
        let Some(screen) = self.setup.screen.as_ref().filter(|_| !seen.is_empty()) else { return };
        let places = self.places.all();
        if self.labels.len() != places.len() {
            self.labels = places.iter().map(|place| label(place).into()).collect();
        }
        let labels = &self.labels;
        let weight = seen.iter().map(|seen| cost(&seen.packet)).sum();
        screen.put(weight, seen.len(), || Sightings { seen, places: labels.clone() });
    }

    fn add_all(&mut self, seen: &[Seen]) -> Result<(), Failed> {
        for (index, packet) in seen.iter().enumerate() {
            let added = self.add(packet);
            self.outlet.free(cost(&packet.packet));
            if let Err(failed) = added {
                let rest = &seen[index + 1..];
                self.setup.tally.unwritten.fetch_add(rest.len() as u64, Relaxed);
                self.outlet.free(rest.iter().map(|seen| cost(&seen.packet)).sum());
                return Err(failed);
            }
        }
        self.setup.tally.late.store(self.window.late(), Relaxed);
        Ok(())
    }

    fn add(&mut self, seen: &Seen) -> Result<(), Failed> {
        let packet = &seen.packet;
        let room = self.packet_file.pending().len() + packet.data.len() + AROUND;
        if self.output_file.is_full(room) && (self.pending > 0 || self.file_has_packets()) {
            self.turn().inspect_err(|_| self.lose(1))?;
        }
        self.explain(seen).map_err(inner).inspect_err(|_| self.lose(1))?;
        self.pending += 1;
        if self.packet_file.pending().len() >= WRITE { self.flush() } else { Ok(()) }
    }

    /// Adds a packet with all its comments.
    fn explain(&mut self, seen: &Seen) -> pcap_file::PcapResult<()> {
        let packet = &seen.packet;
        let mut comments: &[String] = &[];
        let made: Vec<String>;
        if self.packet_file.explains() {
            let ends = Ends::of(&packet.data);
            let file = self.output_file.number();
            let (talk, is_new) = self.talks.of(&ends, &packet.data, packet.time_ns, file);
            if is_new {
                self.packet_file.name(ends.addresses, &talk.names)?;
            }
            if !self.packet_file.knows(seen.place) {
                let interface =
                    describe(&self.places.all()[seen.place], packet.direction, &talk.names, &self.setup.filter);
                self.packet_file.describe(seen.place, &interface)?;
            }
            let cause = packet.cause.as_deref();
            made = match self.setup.options.comments {
                Comments::None => vec![],
                Comments::Flow if !is_new => cause.map(comment::drop_cause).into_iter().collect(),
                _ => comment::comments(&ends, &talk.names, packet.original, cause).into(),
            };
            comments = &made;
        }
        let frame = Frame {
            interface: 0,
            time_ns: packet.time_ns,
            original: packet.original,
            data: &packet.data,
            direction: packet.direction,
            id: packet.id,
            dropped: packet.cause.is_some(),
            lost: seen.lost,
            comments,
        };
        self.packet_file.packet(seen.place, &frame);
        Ok(())
    }

    /// Packets that were lost at a place since a packet reported it.
    fn newly_lost(&mut self, place: usize) -> u64 {
        if self.told_lost.len() <= place {
            self.told_lost.resize(place + 1, 0);
        }
        let lost = self.places.all()[place].counted.lost();
        lost.saturating_sub(std::mem::replace(&mut self.told_lost[place], lost))
    }

    fn file_has_packets(&self) -> bool {
        self.places.all().iter().enumerate().any(|(place, _)| self.packet_file.knows(place))
    }

    /// Ends this file and begins another.
    fn turn(&mut self) -> Result<(), Failed> {
        self.statistics()?;
        self.flush()?;
        self.output_file.turn().map_err(failed)?;
        self.setup.tally.removed_files.store(self.output_file.removed(), Relaxed);
        self.packet_file = PacketFile::new(self.setup.options.format, &self.setup.section).map_err(inner)?;
        self.flush()?;
        let secrets = self.keylog.as_ref().map(|keylog| keylog.secrets().to_vec()).unwrap_or_default();
        self.packet_file.secrets(&secrets).map_err(inner)
    }

    fn statistics(&mut self) -> Result<(), Failed> {
        self.packet_file.statistics(self.places.all(), self.start_ns, now_ns()).map_err(inner)
    }

    /// Puts new secrets before the packets that are next.
    fn read_secrets(&mut self) {
        let Some(keylog) = &mut self.keylog else { return };
        let added = match keylog.new_secrets() {
            Ok(secrets) => self.packet_file.secrets(secrets).map_err(io::Error::other),
            Err(error) => Err(error),
        };
        self.setup.tally.no_secrets.store(keylog.refused(), Relaxed);
        if let Err(error) = added {
            let path = self.setup.options.keylog.as_deref().unwrap_or(Path::new(""));
            warn!("cannot read {}: {error}; packets are captured without these secrets", path.display());
            self.keylog = None;
        }
    }

    fn flush(&mut self) -> Result<(), Failed> {
        if self.packet_file.pending().is_empty() {
            return Ok(());
        }
        let (bytes, ends) = (self.packet_file.pending(), self.packet_file.ends());
        let result = self.output_file.append(bytes, ends);
        let written = match &result {
            Ok(()) => self.pending,
            Err(failed) => ends(&bytes[..failed.kept]).filter(|(_, is_packet)| *is_packet).count() as u64,
        };
        let tally = &self.setup.tally;
        tally.written.fetch_add(written, Relaxed);
        tally.unwritten.fetch_add(self.pending - written, Relaxed);
        tally.file_bytes.store(self.output_file.bytes(), Relaxed);
        self.pending = 0;
        self.packet_file.clear();
        if self.setup.limit.0.is_some_and(|most| self.output_file.bytes() >= most) {
            self.setup.limit.0 = None;
            self.setup.limit.1.notify_one();
        }
        result
    }

    /// Counts all that still comes as lost.
    fn give_up(&mut self) {
        let rest = self.window.all().map(|seen| cost(&seen.packet)).collect::<Vec<_>>();
        self.lose(rest.len());
        self.outlet.free(rest.iter().sum());
        loop {
            match self.outlet.deliveries.recv() {
                Ok(delivery) => {
                    self.lose(delivery.packets.len());
                    self.outlet.free(delivery.packets.iter().map(cost).sum::<usize>() + weight(&delivery.interfaces));
                }
                Err(_) => return,
            }
        }
    }

    fn lose(&self, packets: usize) {
        self.setup.tally.unwritten.fetch_add(packets as u64, Relaxed);
    }
}

/// The description of a place in a file. The names are those of a packet that was seen there, sender first.
fn describe(place: &Place, direction: Direction, names: &Names, filter: &str) -> Interface {
    let pod = pod_behind(place, direction, names);
    let mut name = label(place);
    let mut description = String::new();
    if let Some(pod) = pod {
        name.push_str(&format!(" {}/{}", pod.namespace, pod.name));
        description = format!("{} {}/{}", pod.owner_kind, pod.namespace, pod.owner_name);
        if !pod.zone.is_empty() {
            description.push_str(&format!(", zone {}", pod.zone));
        }
    } else if place.drops {
        description = format!("packets that the kernel of {} dropped", place.node);
    }
    Interface { name, description, filter: filter.to_owned() }
}

/// Node and interface. Where several namespaces have one of this name, the agent has put the namespace behind it.
fn label(place: &Place) -> String {
    if place.drops { place.name.to_string() } else { format!("{}/{}", place.node, place.name) }
}

/// The pod at the other end of a link that has a pod at its other end: what comes in there comes from the pod.
fn pod_behind<'a>(place: &Place, direction: Direction, names: &'a Names) -> Option<&'a HolderRef> {
    let near = match direction {
        Direction::In => names[0].as_ref(),
        Direction::Out => names[1].as_ref(),
        Direction::Unknown => None,
    };
    near.filter(|holder| holder.kind == "Pod" && *holder.host_name == *place.node && is_pod_link(&place.name))
}

/// Names that container networks give to the host's end of a pod's link. OVN-Kubernetes takes 15 hexadecimal digits.
fn is_pod_link(name: &str) -> bool {
    let name = name.split('@').next().unwrap_or(name);
    let ovn = name.len() == 15 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    ovn || ["veth", "cali", "lxc", "eni", "gke", "azv"].iter().any(|prefix| name.starts_with(prefix))
}

fn failed(why: SinkError) -> Failed {
    Failed { kept: 0, why, gone: false }
}

fn inner(error: pcap_file::PcapError) -> Failed {
    failed(malformed(error))
}

fn malformed(error: pcap_file::PcapError) -> SinkError {
    SinkError::Write { path: "packets".into(), why: io::Error::other(error) }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
