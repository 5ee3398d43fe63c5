//! A filter that the collector sends while the agent runs. It is put inside the rules that the agent was started with, and
//! in force in one step; one that cannot be is refused with a reason, and what was in force stays.

use netobserv_wire::pbflow::{AgentStatus, KernelFilter};
use tokio::{
    sync::watch::{self, Receiver, Sender},
    task::block_in_place,
};
use tracing::{info, warn};

use crate::{
    filter::Filter,
    rules::{Rule, narrow::narrow, parse::parse},
};

/// What was wanted last, and what came of it.
pub struct Pushed {
    wanted: Sender<KernelFilter>,
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
        let (wanted, mut wishes) = watch::channel(KernelFilter::default());
        let (answers, answer) = watch::channel(Answer::default());
        tokio::spawn(async move {
            while wishes.changed().await.is_ok() {
                let wish = wishes.borrow_and_update().clone();
                answers.send_replace(block_in_place(|| apply(&mut filter, &own, &wish)));
            }
        });
        Self { wanted, answer }
    }

    /// Takes what a reply of the collector says.
    pub fn hear(&self, filter: Option<KernelFilter>) {
        let filter = filter.unwrap_or_default();
        self.wanted.send_if_modified(|wanted| {
            let other = wanted.number != filter.number;
            if other {
                *wanted = filter;
            }
            other
        });
    }

    /// Resolves when there is news for the collector.
    pub async fn changed(&mut self) {
        if self.answer.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Writes into a status which filter is in force, or why it is not.
    pub fn tell(&self, status: &mut AgentStatus) {
        let Answer { number, error } = self.answer.borrow().clone();
        (status.filter, status.filter_error) = (number, error);
    }
}

fn apply(filter: &mut Filter, own: &[Rule], wish: &KernelFilter) -> Answer {
    let result = rules(own, wish).and_then(|rules| {
        filter.replace(&rules).map_err(|error| format!("the kernel does not take the rules: {error}"))
    });
    match &result {
        Ok(()) if wish.number == 0 => info!("only the agent's own filter is in force again"),
        Ok(()) => info!("filter from the collector in force: {}", wish.lists.join(" and ")),
        Err(error) => warn!("filter from the collector refused: {error}"),
    }
    Answer { number: wish.number, error: result.err().unwrap_or_default() }
}

fn rules(own: &[Rule], wish: &KernelFilter) -> Result<Vec<Rule>, String> {
    let lists: Result<Vec<_>, _> = wish.lists.iter().map(|text| parse(text)).collect();
    let lists = lists.map_err(|error| error.to_string())?;
    narrow(&[&[own.to_vec()], lists.as_slice()].concat()).map_err(|error| error.to_string())
}
