//! One loader for several flights.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::pin;

use super::lead::{Lead, Owner};
use super::running::{Stage, ThreadNumber};

/// Runs a future as the loader of all these flights: asking for any of their
/// keys is re-entry. They do not land by it.
pub(crate) async fn poll_through_all<O, P, F>(
    leads: &[Lead<P>],
    loader: impl FnOnce() -> F,
) -> F::Output
where
    O: Owner,
    P: Deref<Target = O>,
    F: Future,
{
    // Declared around the future, so that it is dropped between them.
    let stages = Stages(leads.iter().map(|lead| Stage::enter(lead.id())).collect());
    let mut future = pin!(loader());
    let _again = EnterOnDrop(&stages);
    let mut known = None;
    poll_fn(|context| {
        stages.resume();
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            stages.suspend();
            let here = ThreadNumber::here();
            if known != here {
                for lead in leads {
                    lead.polled_on(here);
                }
                known = here;
            }
        }
        polled
    })
    .await
}

/// The stages of several flights; left in the order opposite to their entry.
struct Stages(Vec<Stage>);

impl Stages {
    fn resume(&self) {
        self.0.iter().for_each(Stage::resume);
    }

    fn suspend(&self) {
        self.0.iter().rev().for_each(Stage::suspend);
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.suspend();
    }
}

struct EnterOnDrop<'a>(&'a Stages);

impl Drop for EnterOnDrop<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}
