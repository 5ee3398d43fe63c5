//! A filter that the collector sends while the agent runs. It is put inside the rules that the agent was started with, and
//! in force in one step; one that cannot be is refused with a reason, and what was in force stays.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use netobserv_wire::pbflow::{AgentStatus, CollectorReply, KernelFilter, filters_client::FiltersClient};
use tokio::{
    sync::watch::{self, Receiver, Sender},
    task::block_in_place,
    time::{sleep, timeout},
};
use tonic::{Code, transport::Channel};
use tracing::{debug, info, warn};

use crate::{
    filter::Filter,
    rules::{Action, Rule, narrow::narrow, parse::parse, sets::Sets},
};

/// How long an answer of the collector may take: it waits half a minute for a change itself.
const ANSWER: Duration = Duration::from_secs(45);
/// Between attempts: at first, and at most.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(10);

/// What was wanted last, and what came of it.
pub struct Pushed {
    wanted: Sender<KernelFilter>,
    /// The collector reports changes itself: what the answers to messages contain may be older.
    waits: Arc<AtomicBool>,
    answer: Receiver<Answer>,
}

#[derive(Clone, Debug, Default)]
struct Answer {
    number: u64,
    error: String,
}

impl Pushed {
    /// Looks after a filter in which the agent's `own` rules are in force; ends when what is returned is dropped.
    pub fn start(mut filter: Filter, own: Vec<Rule>) -> Self {
        let (wanted, mut requests) = watch::channel(KernelFilter::default());
        let (answers, answer) = watch::channel(Answer::default());
        tokio::spawn(async move {
            while requests.changed().await.is_ok() {
                let request = requests.borrow_and_update().clone();
                answers.send_replace(block_in_place(|| apply(&mut filter, &own, &request)));
            }
        });
        Self { wanted, waits: Arc::default(), answer }
    }

    /// Takes the filter of the answer to a message.
    pub fn receive(&self, filter: Option<KernelFilter>) {
        if !self.waits.load(Relaxed) {
            take(&self.wanted, filter);
        }
    }

    /// Asks the collector for news over and over, so that they are here at once and not with the next message. Ends with the capture, or
    /// at once where the collector is one that cannot be asked.
    pub fn ask(&self, channel: Channel, status: AgentStatus) -> impl Future<Output = ()> + use<> {
        let (wanted, waits) = (self.wanted.clone(), self.waits.clone());
        let mut client = FiltersClient::new(channel);
        async move {
            let mut pause = SOON;
            loop {
                let status = AgentStatus { filter: wanted.borrow().number, ..status.clone() };
                let reply = timeout(ANSWER, client.wait(status)).await;
                waits.store(matches!(reply, Ok(Ok(_))), Relaxed);
                match reply {
                    Ok(Ok(reply)) => {
                        pause = SOON;
                        let CollectorReply { stop, filter } = reply.into_inner();
                        take(&wanted, filter);
                        if stop {
                            return;
                        }
                    }
                    Ok(Err(status)) if status.code() == Code::Unimplemented => return,
                    _ => {
                        sleep(pause).await;
                        pause = (pause * 2).min(LATER);
                    }
                }
            }
        }
    }

    /// Resolves when there is news for the collector.
    pub async fn changed(&mut self) {
        if self.answer.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Writes into a status which filter is in force, or why it is not.
    pub fn report(&self, status: &mut AgentStatus) {
        let Answer { number, error } = self.answer.borrow().clone();
        (status.filter, status.filter_error) = (number, error);
    }
}

fn take(wanted: &Sender<KernelFilter>, filter: Option<KernelFilter>) {
    let filter = filter.unwrap_or_default();
    wanted.send_if_modified(|wanted| {
        let other = wanted.number != filter.number;
        if other {
            *wanted = filter;
        }
        other
    });
}

fn apply(filter: &mut Filter, own: &[Rule], request: &KernelFilter) -> Answer {
    let result = rules(own, request).and_then(|(rules, sets)| {
        filter.replace(&rules, &sets).map_err(|error| format!("the kernel does not take the rules: {error}"))
    });
    match &result {
        Ok(()) if request.nothing => info!("paused by the collector: nothing is captured"),
        Ok(()) if request.number == 0 => info!("only the agent's own filter is in force again"),
        Ok(()) if request.lists.is_empty() => debug!("{}", Members(request)),
        Ok(()) => info!("filter from the collector in force: {}", request.lists.join(" and ")),
        Err(error) => warn!("filter from the collector refused: {error}"),
    }
    Answer { number: request.number, error: result.err().unwrap_or_default() }
}

/// Prints how many elements each set has.
struct Members<'a>(&'a KernelFilter);

impl std::fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sets of addresses in force:")?;
        self.0.sets.iter().try_for_each(|set| {
            let count = set.ipv4.len() / 4 + set.ipv6.len() / 16 + set.ports.len();
            write!(f, " {} with {count} elements;", set.number)
        })
    }
}

fn rules(own: &[Rule], request: &KernelFilter) -> Result<(Vec<Rule>, Sets), String> {
    let lists: Result<Vec<_>, _> = request.lists.iter().map(|text| parse(text)).collect();
    let lists = lists.map_err(|error| error.to_string())?;
    let sets = Sets::read(&request.sets).map_err(|error| error.to_string())?;
    if request.nothing {
        return Ok((nothing(), sets));
    }
    let rules = narrow(&[&[own.to_vec()], lists.as_slice()].concat()).map_err(|error| error.to_string())?;
    let waiting = request.sets.is_empty() && rules.iter().any(Rule::has_sets);
    Ok((if waiting { nothing() } else { rules }, sets))
}

/// The rules in force until the collector has sent the sets that `rules` name: what is in them is not known, so that all that
/// could be captured might belong to others.
pub fn until_sets_come(rules: &[Rule]) -> Vec<Rule> {
    if rules.iter().any(Rule::has_sets) { nothing() } else { rules.to_vec() }
}

fn nothing() -> Vec<Rule> {
    vec![Rule::all(Action::Reject), Rule::all(Action::Accept)]
}
