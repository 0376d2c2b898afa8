//! The results as one self-contained page: no scripts, no fonts, nothing to
//! fetch, so that it can be mailed and opened years later.

mod bars;
mod chart;
mod html;
mod logins;
mod page;
mod replicas;
mod rush;
mod servers;
mod shards;
mod timeline;

pub(crate) use page::page;
