//! How models are run.

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Runs a model under a scheduler that chooses at random and under one that
/// seeks out few but ill-timed preemptions, so many times each.
pub(crate) fn explore(iterations: usize, model: impl Fn() + Send + Sync + 'static) {
    const PREEMPTIONS: usize = 3;
    let model = Arc::new(model);
    let again = Arc::clone(&model);
    let random = RandomScheduler::new(iterations);
    Runner::new(random, config()).run(move || model());
    let preempting = PctScheduler::new(PREEMPTIONS, iterations);
    Runner::new(preempting, config()).run(move || again());
}

fn config() -> Config {
    let mut config = Config::new();
    // The default is too small for what unoptimised code puts on the stack.
    config.stack_size = 1 << 18;
    config
}
