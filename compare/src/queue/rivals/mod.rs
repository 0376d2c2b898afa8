//! The rivals, each in its best documented configuration for the level asked for.

mod beanstalkd;
mod commitlog;
mod nats;
mod okaywal;
mod queue_file;
mod redis;
mod server;
mod sqlite;
mod walrus;
mod yaque;

use super::subject::Contender;

pub(super) use okaywal::NAME as OKAYWAL;
pub(super) use queue_file::NAME as QUEUE_FILE;
pub(super) use sqlite::{FULL as SQLITE_FULL, OFF as SQLITE_OFF};
pub(super) use yaque::NAME as YAQUE;

pub(super) fn all() -> Vec<Contender> {
    vec![
        yaque::CONTENDER,
        queue_file::CONTENDER,
        okaywal::CONTENDER,
        commitlog::CONTENDER,
        walrus::CONTENDER,
        sqlite::CONTENDER_OFF,
        sqlite::CONTENDER_NORMAL,
        sqlite::CONTENDER_FULL,
        redis::CONTENDER,
        nats::CONTENDER,
        beanstalkd::CONTENDER,
    ]
}
