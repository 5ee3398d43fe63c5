//! The first scene of the article that began this project: a database that does not answer, why, and that it does again.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netobserv_test_cluster::scene::{NO_POLICY, PODS, Scene, WRONG_POLICY};
use netobserv_testkit::netns;

use crate::Failure;
use crate::capture::Capture;
use crate::stage::{Stage, pass};

/// What the pods do, in the order of `PODS`.
const WORK: [&str; 4] = [
    "asks postgresql, port 5432, and dns for its name; answers on port 8080",
    "answers on port 5432",
    "asks nodejs, port 8080",
    "knows postgresql.sample-app.svc.cluster.local; nodejs also asks for wrong names",
];
/// Time for a picture, and for one with more to read.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(5);
/// The capture: all features that explain, and not its own traffic.
const CAPTURE: &str = "oc netobserv flows --enable_all --protocol=TCP --ports=5432,8080 or --protocol=UDP --port=53";
/// What every object of a capture carries, looked for everywhere.
const LEFT: &str = "oc get namespaces,pods,services,secrets,serviceaccounts,daemonsets,clusterroles,clusterrolebindings \
     --all-namespaces -l app=netobserv-cli";
const CAUSE: &str = "NETFILTER_DROP";

/// Whether a flow's source is the database.
fn answers(line: &str) -> bool {
    line.split(" -> ").next().is_some_and(|source| source.contains("postgresql-1:5432"))
}

/// The show and what it is about.
struct Play<'a> {
    stage: &'a mut Stage,
    scene: Scene,
    /// Where the user is.
    here: PathBuf,
    /// Other than ./output.
    folder: Option<PathBuf>,
}

pub(crate) fn play(stage: &mut Stage, folder: Option<PathBuf>) -> Result<(), Failure> {
    stage.heading("A cluster of three nodes on this machine")?;
    stage.note("Nodes are network namespaces joined by a bridge, pods are processes in namespaces of their own.")?;
    let scene = Scene::open(3);
    scene.nft(WRONG_POLICY);
    let mut play = Play { stage, scene, here: std::env::current_dir()?, folder };
    play.introduce()?;
    let before = play.files()?;
    let correction = play.capture()?;
    play.ask_the_files(&before, &correction)?;
    play.nothing_is_left()?;
    let Play { stage, scene, .. } = play;
    drop(scene);
    let own = format!("nst{}x", std::process::id());
    let left: Vec<String> = netns::names().into_iter().filter(|name| name.starts_with(&own)).collect();
    if left.is_empty() {
        stage.note("The cluster is gone, too: no namespace, interface, process or kernel program of it is left.")
    } else {
        Err(Failure::Left(left.join(", ")))
    }
}

impl Play<'_> {
    fn introduce(&self) -> Result<(), Failure> {
        self.shell("oc get nodes")?;
        self.stage.line("")?;
        for ((pod, (namespace, name)), work) in self.scene.workloads.iter().zip(PODS).zip(WORK) {
            let node = pod.address.octets()[2];
            let pod = format!("{namespace}/{name}-1");
            self.stage.line(&format!("  node{node}  {pod:27} {work}"))?;
        }
        self.stage.line("")?;
        self.stage.note(
            "nodejs says that its database does not answer. Is it slow, is the name wrong, or is something between?",
        )?;
        pass(if self.stage.is_live() { SHORT } else { Duration::ZERO })
    }

    /// From `Setting up...` to `Cleaning up...`; gives the time in which the policy was corrected, ms since 1970.
    fn capture(&mut self) -> Result<RangeInclusive<u64>, Failure> {
        let mut line = CAPTURE.to_owned();
        if let Some(folder) = &self.folder {
            line += &format!(" --output-dir={}", folder.display());
        }
        self.stage.command(&line)?;
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let live = self.stage.is_live();
        let mut capture = if live {
            let names = ["TERM", "COLORTERM", "NO_COLOR", "COLORFGBG"];
            let kept = names.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
            let plugin = self.scene.cluster.user_on_terminal("oc").args(&words).dir(&self.here);
            Capture::screen(kept.fold(plugin, |plugin, (name, value)| plugin.env(name, value)).start(Stage::size()))
        } else {
            Capture::lines(self.scene.cluster.user("oc").args(&words).dir(&self.here).own_group().start())
        };
        let correction = if live { self.on_screen(&mut capture)? } else { self.in_lines(&mut capture)? };
        capture.ctrl_c();
        if live {
            capture.until(self.stage, "a question", |text| text.contains("[yes/no]"))?;
            capture.look(self.stage, Duration::from_secs(1))?;
            capture.press("yes\r");
        }
        capture.finish(self.stage, &line)?;
        Ok(correction)
    }

    fn on_screen(&mut self, capture: &mut Capture) -> Result<RangeInclusive<u64>, Failure> {
        let stage = &mut *self.stage;
        stage.caption("Live, from three nodes: who talks to whom, by name.")?;
        capture.until(stage, "three nodes", |text| text.contains("3 of 3 nodes") && text.contains("router-1"))?;
        capture.look(stage, SHORT)?;
        stage.caption("8: Problems. One line a cause: something drops what nodejs sends to postgresql. It also asks for a name that is not there.")?;
        capture.press("8");
        capture.until(stage, "a dropped packet", |text| text.contains(CAUSE))?;
        capture.look(stage, LONG)?;
        stage.caption("2: Packet drops, and `postgresql` typed. NETFILTER_DROP: the firewall of the node, so a policy. The database never saw these packets.")?;
        capture.press("2");
        capture.press("postgresql\r");
        capture.until(stage, "the dropped packets", |text| text.contains("[postgresql") && text.contains(CAUSE))?;
        capture.look(stage, LONG)?;
        let correction = self.scene.correct();
        let stage = &mut *self.stage;
        stage.caption(&format!(
            "The policy is corrected (on {}: nft {NO_POLICY}) while the capture goes on. 4: round-trip times.",
            self.scene.database_node()
        ))?;
        capture.press("4");
        capture.until(stage, "an answer of the database", |text| text.contains("postgresql-1"))?;
        capture.look(stage, LONG)?;
        stage.caption("nodejs and postgresql exchange bytes in both directions, and nothing is dropped any more. Ctrl-C ends the capture.")?;
        capture.look(stage, SHORT)?;
        Ok(correction)
    }

    fn in_lines(&mut self, capture: &mut Capture) -> Result<RangeInclusive<u64>, Failure> {
        capture.until(self.stage, "a dropped packet", |text| text.contains(CAUSE))?;
        capture.look(self.stage, SHORT)?;
        let correction = self.scene.correct();
        let text = format!("the policy is corrected, on {}: nft {NO_POLICY}", self.scene.database_node());
        self.stage.caption(&text)?;
        let before = capture.shown().len();
        capture.until(self.stage, "an answer of the database", |text| text[before..].lines().any(answers))?;
        capture.look(self.stage, SHORT)?;
        self.stage.caption("Ctrl-C")?;
        Ok(correction)
    }

    fn ask_the_files(&self, before: &BTreeSet<PathBuf>, correction: &RangeInclusive<u64>) -> Result<(), Failure> {
        let new: Vec<PathBuf> = self.files()?.difference(before).cloned().collect();
        let [db] = &new[..] else { return Err(Failure::Files(format!("{new:?} instead of one database"))) };
        let db = db.display().to_string();
        let db = db.as_str();
        self.stage.heading("The files that came home")?;
        self.shell(&format!("ls -sh1 {db} {}", db.replace(".db", ".json")))?;
        let dropped = self.shell(&format!(
            "sqlite3 -header -column {db} \"\n  SELECT SrcK8S_Name AS source, DstK8S_Name AS destination, DstPort AS port, \
             PktDropLatestDropCause AS cause,\n    sum(PktDropPackets) AS dropped FROM flow WHERE PktDropPackets > 0 GROUP BY 1, 2, 3, 4\""
        ))?;
        self.stage
            .note("(The three nodes are one kernel here, so each of the two nodes on the way tells of every drop.)")?;
        let (begun, done) = (correction.start(), correction.end());
        let table = self.shell(&format!(
            "sqlite3 -header -column {db} \"\n  SELECT CASE WHEN TimeFlowStartMs < {begun} THEN 'wrong' ELSE 'corrected' END AS policy,\n    \
             coalesce(sum(PktDropPackets), 0) AS dropped, coalesce(sum(Bytes) FILTER (WHERE SrcK8S_Name = 'postgresql-1'), 0) AS answered\n    \
             FROM flow WHERE 5432 IN (SrcPort, DstPort) AND TimeFlowStartMs NOT BETWEEN {begun} AND {done}\n    GROUP BY 1 ORDER BY 1 DESC\""
        ))?;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let is = |row: &Vec<&str>, policy: &str, drops: bool| {
            row.len() == 3 && row[0] == policy && (row[1] != "0") == drops && (row[2] == "0") == drops
        };
        let told = dropped.contains("postgresql-1") && dropped.contains(CAUSE);
        let right = rows.iter().any(|row| is(row, "wrong", true)) && rows.iter().any(|row| is(row, "corrected", false));
        if told && right { Ok(()) } else { Err(Failure::Files(format!("{dropped}\n{table}"))) }
    }

    fn nothing_is_left(&self) -> Result<(), Failure> {
        self.stage.heading("What is left in the cluster")?;
        self.shell("oc netobserv cleanup")?;
        self.shell(LEFT)?;
        let left = self.scene.cluster.left_behind();
        if !left.is_empty() {
            return Err(Failure::Left(left.join(", ")));
        }
        self.stage.note("and at no interface of the three nodes a kernel program")
    }

    /// Types a line and runs it; gives its output.
    fn shell(&self, line: &str) -> Result<String, Failure> {
        self.stage.command(line)?;
        let done = self.scene.cluster.user("sh").args(["-c", line]).dir(&self.here).finish();
        for text in [&done.stdout, &done.stderr].into_iter().filter(|text| !text.is_empty()) {
            self.stage.line(text.trim_end())?;
        }
        if done.success() {
            return Ok(done.stdout);
        }
        Err(Failure::Command { line: line.to_owned(), code: done.code(), said: done.stderr })
    }

    /// Databases in the folder for flows, by the path that a user would write.
    fn files(&self) -> Result<BTreeSet<PathBuf>, Failure> {
        let folder = self.folder.as_deref().unwrap_or(Path::new("output")).join("flow");
        let Ok(entries) = std::fs::read_dir(self.here.join(&folder)) else { return Ok(BTreeSet::new()) };
        let names = entries.map(|entry| entry.map(|entry| folder.join(entry.file_name())));
        let all = names.collect::<Result<BTreeSet<_>, _>>()?;
        Ok(all.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "db")).collect())
    }
}
