//! How old what a read shows may be, as a table: by lag, and by what the reader has seen before.

use std::time::Duration;

use crate::stage::{SYSTEM, Stage};
use tenfold::replica::topology::{NodeSet, SelectError, Selection, select};
use tenfold::replica::{CausalToken, Position, ReadPreference, SystemId};

struct Case(&'static str, &'static str, &'static str, &'static str);

#[test]
fn a_read_is_as_fresh_as_the_table_says() {
    let wrong: Vec<String> = CASES.iter().filter_map(Case::wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} cases of staleness", CASES.len());
}

#[test]
fn what_a_retry_has_tried_is_not_read_while_another_has_it() {
    let stage = Stage::play("a:p b:r c:r");
    let tried = NodeSet::default().with(stage.node("b").id());
    for (read, expected) in [("1@100", "c"), ("1@100 wait 5", "c"), ("lag 2000", "c")] {
        let found = select(stage.topology(), &parse(read), tried);
        assert_eq!(describe(&stage, &found), expected, "{read}");
    }
}

impl Case {
    fn wrong(&self) -> Option<String> {
        let Self(name, scene, read, expected) = self;
        let stage = Stage::play(scene);
        let found = select(stage.topology(), &parse(read), NodeSet::default());
        let found = describe(&stage, &found);
        (found != *expected).then(|| format!("{name}: expected {expected}, found {found}"))
    }
}

/// `lag MS`, or `TIMELINE@POSITION`, with `z` before it for another cluster and `wait MS` after it.
fn parse(read: &str) -> ReadPreference {
    let ms = |text: &str| Duration::from_millis(text.trim().parse().unwrap());
    if let Some(limit) = read.strip_prefix("lag ") {
        return ReadPreference::MaxLag(ms(limit));
    }
    let (token, wait) = read.split_once("wait").unwrap_or((read, "0"));
    let (token, system) = match token.strip_prefix('z') {
        Some(token) => (token, SystemId(8)),
        None => (token, SYSTEM),
    };
    let (timeline, position) = token.trim().split_once('@').unwrap();
    let position = Position(position.parse().unwrap());
    let token = CausalToken::new(system, timeline.parse().unwrap(), position);
    ReadPreference::AtLeast(token, ms(wait))
}

fn describe(stage: &Stage, found: &Result<Selection, SelectError>) -> String {
    match found {
        Ok(selection) => stage.goes(selection),
        Err(SelectError::NoReplica { .. }) => "nobody".into(),
        Err(SelectError::NoPrimary { .. }) => "nobody yet".into(),
        Err(SelectError::TokenLost { fork, .. }) => format!("lost after {}", fork.0),
        Err(SelectError::TokenUnproven { kept, .. }) => format!("unproven after {}", kept.0),
        Err(SelectError::TokenAhead { known, .. }) => format!("ahead of {known}"),
        Err(SelectError::WrongCluster { .. }) => "wrong cluster".into(),
        Err(other) => format!("{other}"),
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // By lag. A probe is a second old at most, which counts.
    Case("a replica that is level is fresh", "a:p b:r", "lag 1000", "b"),
    Case("one that lags less than the limit is fresh", "a:p b:r b:r@90~500", "lag 2000", "b"),
    Case("one that lags just the limit is fresh", "a:p b:r b:r@90~1000", "lag 2000", "b"),
    Case("one that lags a little more is not", "a:p b:r b:r@90~1001", "lag 2000", "fallback a"),
    Case("of two the one that lags less is read", "a:p b:r c:r b:r@90~500 c:r@90~3000", "lag 2000", "b"),
    Case("of two that are fresh both are read", "a:p b:r@90~500 c:r@90~700", "lag 2000", "b c"),
    Case("with none fresh the primary is read within its share", "a:p b:r c:r b:r@90~5000 c:r@90~6000", "lag 2000", "fallback a"),
    Case("a limit below the age of a probe cannot be proven", "a:p b:r", "lag 500", "fallback a"),
    Case("what nobody can tell is not fresh", "a:p b:r b:r@90", "lag 5000", "fallback a"),
    Case("what nobody can tell of one that is level is fresh", "a:p b:r@100", "lag 5000", "b"),
    Case("without a primary what is fresh is read", "a:p b:r@100~0 a:eof", "lag 5000", "b"),
    Case("without a primary and with none fresh nobody is read", "a:p b:r b:r@90~9000 a:eof", "lag 5000", "nobody"),
    Case("with no replica the primary is read within its share", "a:p b:x", "lag 5000", "fallback a"),
    Case("what lags too much to serve is not read whatever the limit", "a:p b:r b:r@50~20000", "lag 60000", "fallback a"),
    Case("one that is drained is not read however fresh", "a:p b:r c:r b:drain", "lag 5000", "c"),
    Case("one that catches up is not read however fresh", "a:p b:r b:eof b:r@99~0", "lag 5000", "fallback a"),
    Case("a lag that the idle primary causes is none", "a:p b:r@100~9000", "lag 1500", "b"),
    Case("one that receives nothing grows old", "a:p b:r@90~0 wait:1500 a:p@200 b:r@90~0!", "lag 2000", "fallback a"),
    Case("a limit of nothing cannot be proven", "a:p b:r", "lag 0", "fallback a"),
    Case("a limit a little below the age of a probe cannot be proven", "a:p b:r", "lag 999", "fallback a"),
    Case("a limit of hours is no limit", "a:p b:r b:r@90~9000", "lag 7200000", "b"),
    Case("while two are disputed what says that it is fresh is", "a:p b:p c:r~0", "lag 5000", "c"),
    Case("while two are disputed what says nothing is not", "a:p b:p c:r", "lag 5000", "nobody"),
    Case("a stale primary is not fresh", "a:p/2 b:p/1", "lag 5000", "fallback a"),
    Case("one behind another is as old as that one", "a:p b:r@90~0 c:r@90~0>b wait:900 a:p@200 b:r@90~0! c:r@90~0>b wait:900 a:p@200 b:r@90~0! c:r@90~0>b", "lag 2000", "fallback a"),
    Case("one behind another that receives is fresh", "a:p b:r@90~0^ c:r@90~0>b wait:900 a:p@200 b:x c:r@90~0>b", "lag 2000", "c"),
    // By a token of the line that is.
    Case("who has it is read", "a:p b:r@100", "1@100", "b"),
    Case("who has more is read", "a:p b:r@100", "1@7", "b"),
    Case("of two who has it is read", "a:p b:r@90 c:r@100", "1@95", "c"),
    Case("all who have it are read", "a:p b:r@96 c:r@100", "1@95", "b c"),
    Case("where nobody has it the primary is read within its share", "a:p b:r@90", "1@95", "fallback a"),
    Case("where nobody has it one is waited for", "a:p b:r@90", "1@95 wait 50", "wait for b to have 95, then a"),
    Case("the one with the least to go is waited for", "a:p b:r@80 c:r@90", "1@95 wait 50", "wait for c to have 95, then a"),
    Case("who has it is not waited for", "a:p b:r@100", "1@95 wait 50", "b"),
    Case("with no replica the primary has it", "a:p b:x", "1@95 wait 50", "fallback a"),
    Case("what was written after the last probe is at the primary", "a:p@100 b:r@100", "1@150", "fallback a"),
    Case("what was written after the last probe is waited for", "a:p@100 b:r@100", "1@150 wait 50", "wait for b to have 150, then a"),
    Case("without a primary who has it is read", "a:p b:r@100 a:eof", "1@95", "b"),
    Case("without a primary nobody else is asked", "a:p b:r@90 a:eof", "1@95", "nobody"),
    Case("without a primary one is waited for, and then nobody", "a:p b:r@90 a:eof", "1@95 wait 50", "wait for b to have 95, then nobody"),
    Case("received and not applied is not there", "a:p b:r@90", "1@91", "fallback a"),
    Case("one that is suspect does not count, whatever it had", "a:p b:r@100 b:eof", "1@95", "fallback a"),
    Case("one that was started anew may have less", "a:p b:r@100 b:eof b:r@90", "1@95", "fallback a"),
    Case("one that lags may not serve, whatever it has", "a:p b:r b:r@50~20000", "1@40", "fallback a"),
    Case("one that is drained does not count", "a:p b:r@100 b:drain", "1@95", "fallback a"),
    Case("one that catches up does not count", "a:p@100 b:r b:eof b:r@98", "1@95", "fallback a"),
    Case("a token of nothing is anywhere", "a:p b:r@0", "1@0", "b"),
    Case("a token beyond all that can be is at the primary, if anywhere", "a:p b:r", "1@18446744073709551615", "fallback a"),
    Case("after the primary was removed who has it is read", "a:p b:r@100 a:remove", "1@95", "b"),
    Case("after the primary was removed nobody else is asked", "a:p b:r@100 a:remove", "1@150", "nobody"),
    Case("after the primary was removed one is waited for", "a:p b:r@100 a:remove", "1@150 wait 50", "wait for b to have 150, then nobody"),
    Case("one that talks of a line far ahead proves nothing", "a:p b:r@150/9", "1@100", "fallback a"),
    Case("a line before the first is not known", "a:p b:r", "0@5", "unproven after 0"),
    Case("a line without end is ahead", "a:p b:r", "18446744073709551615@5", "ahead of 1"),
    // Of another cluster, or before anything is known.
    Case("a token of another cluster is refused", "a:p b:r", "z1@5", "wrong cluster"),
    Case("a token of another cluster is refused, wait or not", "a:p b:r", "z1@5 wait 50", "wrong cluster"),
    Case("before the cluster is known nobody is asked", "a:hurry b:r", "1@5", "nobody yet"),
    Case("before there was a primary nobody is asked", "a:r b:r", "1@5", "nobody yet"),
    // After a change of the primary.
    Case("what was written before the fork is kept", "a:p/2@200<90 b:r@150/2", "1@90", "b"),
    Case("what was written after the fork is lost", "a:p/2@200<90 b:r@150/2", "1@91", "lost after 90"),
    Case("what is lost is not waited for", "a:p/2@200<90 b:r@150/2", "1@91 wait 50", "lost after 90"),
    Case("what is lost is lost though somebody still has it", "a:p/2@200<90 b:r@95/1", "1@91", "lost after 90"),
    Case("what is lost is lost though there is no primary", "a:p/2@200<90 b:r@150/2 a:eof", "1@91", "lost after 90"),
    Case("what was kept is read from one on the old line", "a:p/2@200<90 b:r@90/1", "1@85", "b"),
    Case("what the new line has is not on one of the old", "a:p/2@200<90 b:r@90/1", "2@95", "fallback a"),
    Case("what the new line has is waited for", "a:p/2@200<90 b:r@90/1", "2@95 wait 50", "fallback a"),
    Case("what the new line has is on one that follows", "a:p/2@200<90 b:r@150/2", "2@120", "b"),
    Case("where the fork is not told what was seen to be there is kept", "a:p b:r@90 c:r@90 b:p/2@200 c:r@150/2", "1@90", "c"),
    Case("where the fork is not told more than that is unproven", "a:p b:r@90 c:r@90 b:p/2@200 c:r@150/2", "1@91", "unproven after 90"),
    Case("where the fork is told late the token is judged by it", "a:p b:r@90 c:r@90 b:p/2@200 c:r@150/2 b:p/2@200<95", "1@95", "c"),
    Case("where the fork is told late the lost is lost", "a:p b:r@90 c:r@90 b:p/2@200 c:r@150/2 b:p/2@200<95", "1@96", "lost after 95"),
    Case("where nothing was seen nothing is proven", "a:p/2@200 b:r@150/2", "1@5", "unproven after 0"),
    Case("after two changes both forks count", "a:p b:p/2@100<80 a:r/2@100 a:p/3@120<90 b:r/3@120", "1@80", "b"),
    Case("after two changes the first fork counts", "a:p b:p/2@100<80 a:r/2@100 a:p/3@120<90 b:r/3@120", "1@81", "lost after 80"),
    Case("after two changes the second fork counts", "a:p b:p/2@100<80 a:r/2@100 a:p/3@120<90 b:r/3@120", "2@91", "lost after 90"),
    Case("after two changes the middle line is kept up to the fork", "a:p b:p/2@100<80 a:r/2@100 a:p/3@120<90 b:r/3@120", "2@90", "b"),
    Case("a token of a line to come is ahead", "a:p b:r", "2@5", "ahead of 1"),
    Case("a token of a line to come is read from one on that line", "a:p b:r c:r@150/2", "2@120", "c"),
    Case("a token of a line to come is waited for on that line", "a:p b:r c:r@110/2", "2@120 wait 50", "wait for c to have 120, then nobody"),
    Case("one alone of a line to come proves nothing of the line before", "a:p b:r@150/2", "1@100", "fallback a"),
    Case("one that went past the fork proves nothing of the new line", "a:p/2@200<90 b:r@150/2 c:r@97/1", "2@95", "b"),
    Case("one of a line to come proves nothing of the line before", "a:p b:r@90 c:r@150/2", "1@100", "fallback a"),
];
