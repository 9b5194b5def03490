//! What a permit is used for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::Instrument as _;

use super::{Dispatcher, Steps};
use crate::scim::bulk::request::BulkLimits;
use crate::store::{Lane, WorkItem};
use crate::sync::bulk;
use crate::sync::bulk::standing::{self, Standing};
use crate::sync::lanes::{Candidate, Choice};
use crate::sync::step::{self, Task};
use crate::target::Stack;

impl Dispatcher {
    /// Uses a permit, or keeps it where nobody needs it.
    pub(super) fn start(&mut self, stack: Stack) {
        let standing = self.shared().bulk.standing(self.shared().clock.now());
        match standing {
            Standing::On(limits) if self.probe.wait().is_none() => self.start_packed(stack, limits),
            // Nobody waits for a question whose answer they can do without.
            Standing::Ask if !self.lanes.is_urgent() && self.lanes.has_several() => self.start_asking(stack),
            Standing::On(_) | Standing::Ask | Standing::Off => match self.lanes.take() {
                Some(candidate) => self.start_single(stack, candidate),
                None => self.spare.push(stack),
            },
        }
    }

    fn start_packed(&mut self, stack: Stack, limits: BulkLimits) {
        match self.lanes.choose(limits.operations) {
            Some(Choice::LookAt(items)) => {
                self.spare.push(stack);
                self.start_looking(items);
            }
            Some(Choice::Single(candidate)) => self.start_single(stack, candidate),
            Some(Choice::Pack(tasks)) => self.start_pack(stack, limits, tasks),
            None => self.spare.push(stack),
        }
    }

    fn start_single(&mut self, stack: Stack, candidate: Candidate<Task>) {
        let mut task = match candidate {
            Candidate::Fresh(item) => self.taken(item),
            Candidate::UnderWay(task) => task,
        };
        if self.is_over_retry_budget(&mut task) {
            self.put_off(task);
            self.spare.push(stack);
            return;
        }
        self.probe.begin();
        let run = Arc::clone(&self.run);
        let step =
            async move { Steps { done: vec![step::run(&run, task, Some(stack)).await], looked: false } };
        self.spawn(step);
    }

    /// Finds out what each needs first.
    fn start_looking(&mut self, items: Vec<WorkItem>) {
        let tasks: Vec<Task> = items.into_iter().map(|item| self.taken(item)).collect();
        let run = Arc::clone(&self.run);
        let look = async move {
            let mut done = Vec::with_capacity(tasks.len());
            for task in tasks {
                done.push(step::run(&run, task, None).await);
            }
            Steps { done, looked: true }
        };
        self.looks += 1;
        self.spawn(look);
    }

    fn start_pack(&mut self, stack: Stack, limits: BulkLimits, tasks: Vec<Task>) {
        let profile = self.shared().target.profile().clone();
        let tasks = self.within_retry_budget(tasks);
        let is_urgent = tasks.iter().any(|task| task.item.lane == Lane::Deprovision);
        let policy = self.shared().policy();
        let (mut pack, left) = bulk::assemble(&profile, &policy, limits, tasks);
        if !is_urgent {
            self.companions_join(&profile, &policy, &mut pack);
        }
        for task in left {
            let packable = !task.alone;
            self.put_back(task, packable);
        }
        if profile.bulk.saves(pack.len()) {
            let run = Arc::clone(&self.run);
            let (target_name, operations) = (run.shared.name(), pack.len());
            let span = tracing::info_span!("pack", target_name, operations);
            // On the heap: it is large.
            let send =
                async move { Steps { done: Box::pin(bulk::send(&run, pack, stack)).await, looked: false } };
            self.spawn(send.instrument(span));
            return;
        }
        let mut tasks = pack.into_tasks();
        match tasks.next() {
            Some(first) => self.start_single(stack, Candidate::UnderWay(first)),
            None => self.spare.push(stack),
        }
        for task in tasks {
            self.put_back(Task { alone: true, ..task }, false);
        }
    }

    fn start_asking(&mut self, stack: Stack) {
        let run = Arc::clone(&self.run);
        let ask = async move {
            standing::ask(&run, stack).await;
            Steps { done: Vec::new(), looked: false }
        };
        self.spawn(ask);
    }

    pub(super) fn taken(&self, item: WorkItem) -> Task {
        self.shared().in_flight.fetch_add(1, Ordering::SeqCst);
        Task::new(item)
    }

    fn spawn(&mut self, step: impl Future<Output = Steps> + Send + 'static) {
        let run = Arc::clone(&self.run);
        self.steps.spawn(async move { run.lease.within(step).await });
    }
}
