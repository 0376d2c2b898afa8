//! What becomes of a cluster by what happens to it, as tables: what happens, and how it stands then; what a fault of a
//! connection leads to; which settings cannot work.
//!
//! How it stands: `phase, who takes writes in which timeline | who serves reads | who else is how`.

use std::time::Duration;

use crate::stage::Stage;
use tenfold::replica::Endpoint;
use tenfold::replica::topology::{Settings, SettingsBuilder, SettingsError, Synchronous};

struct Case(&'static str, &'static str, &'static str);

#[test]
fn a_cluster_stands_as_the_table_says() {
    let wrong = CASES.iter().filter_map(|Case(name, scene, expected)| {
        let found = Stage::play(scene).describe();
        (found != *expected).then(|| format!("{name}: expected {expected}, found {found}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} cases of topology", CASES.len());
}

#[test]
fn a_fault_leads_to_what_the_table_says() {
    let wrong = FAULTS.iter().filter_map(|Case(name, scene, expected)| {
        let stage = Stage::play(scene);
        let purged = stage.purged();
        let purged = if purged.is_empty() {
            "-".into()
        } else {
            purged
        };
        let found = format!("{purged} | {}", stage.describe());
        (found != *expected).then(|| format!("{name}: expected {expected}, found {found}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} cases of faults", FAULTS.len());
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Getting to know it.
    Case("nobody has answered", "a:hurry b:hurry", "discovering |  | a unknown, b unknown"),
    Case("a primary and its replicas", "a:p b:r c:r", "normal a1 | b c"),
    Case("a primary that was thought to be a replica", "a:r b:p c:r", "normal b1 | a c"),
    Case("the primary is alone", "a:p", "normal a1"),
    Case("nobody is primary", "a:r b:r", "leaderless | a b"),
    Case("nobody answers", "a:x b:x", "discovering |  | a out, b out"),
    Case("the first who answers is the primary after all had time", "a:hurry b:hurry wait:1000 a:p", "normal a1 |  | b out"),
    Case("a primary turns up later", "a:r b:r b:p", "normal b1 | a"),
    Case("a primary turns up that did not answer", "a:x b:r a:p", "normal a1 | b"),
    Case("at the start the newer of two primaries is it", "a:p/1 b:p/2", "normal b2 |  | a stale"),
    Case("at the start the newer of two primaries is it, whoever answers first", "b:p/2 a:p/1", "normal b2 |  | a stale"),
    Case("at the start the newest of three primaries is it", "a:p/1 b:p/3 c:p/2", "normal b3 |  | a stale, c stale"),
    Case("at the start the later term is the newer primary", "a:p/1.4 b:p/1.5", "normal b1 |  | a stale"),
    Case("at the start two primaries of one epoch get no writes", "a:p/1 b:p/1 c:r", "disputed | c | a twin, b twin"),
    Case("at the start a term that one does not know decides nothing", "a:p/1.4 b:p/1", "disputed |  | a twin, b twin"),
    Case("a dispute ends when one is newer", "a:p/1 b:p/1 b:p/2", "normal b2 |  | a stale"),
    Case("a dispute ends when one is a replica", "a:p/1 b:p/1 a:r", "normal b1 | a"),
    Case("a dispute ends when one is removed", "a:p/1 b:p/1 c:r a:remove", "normal b1 | c"),
    Case("a dispute does not end when one is silent", "a:p/1 b:p/1 a:x b:p/1", "disputed |  | a twin, b twin"),
    Case("a dispute goes on while both say the same", "a:p/1 b:p/1 a:p/1 b:p/1", "disputed |  | a twin, b twin"),
    Case("a dispute ends by a third that is newer", "a:p/1 b:p/1 c:r c:p/2", "normal c2 |  | a stale, b stale"),
    // Other clusters.
    Case("a replica of another cluster is kept out", "a:p b:zr", "normal a1 |  | b alien"),
    Case("a primary of another cluster is kept out", "a:p b:zp/9", "normal a1 |  | b alien"),
    Case("most decide whose cluster it is", "a:zp b:p c:r", "normal b1 | c | a alien"),
    Case("of one against one the primary that was thought of decides", "a:p b:zp", "normal a1 |  | b alien"),
    Case("the primary that comes back with another cluster is lost", "a:p b:r a:zp", "primary suspect | b | a alien"),
    Case("the primary that comes back as itself is used again", "a:p b:r a:zp a:p", "normal a1 | b"),
    Case("a stranger who comes back as one of ours is used", "a:p b:zr b:r", "normal a1 | b"),
    // Another primary.
    Case("a new primary is followed", "a:p b:r b:p/2", "normal b2 |  | a unknown"),
    Case("the old primary follows the new one", "a:p b:r b:p/2<100 a:r/2", "normal b2 | a"),
    Case("the old primary says again that it is one", "a:p b:r b:p/2 a:p/1", "normal b2 |  | a stale"),
    Case("the old primary does so often", "a:p b:r b:p/2 a:p/1 a:p/1 a:p/1", "normal b2 |  | a stale"),
    Case("the old primary has a later term of the old line", "a:p b:r b:p/2 a:p/1.9", "normal b2 |  | a stale"),
    Case("the old primary has more than the new one", "a:p b:r@100 b:p/2<100 a:r@110/1", "normal b2 |  | a diverged"),
    Case("the old primary was put in order", "a:p b:r@100 b:p/2<100 a:r@110/1 a:r@100/2", "normal b2 | a"),
    Case("the new primary has a later term of the same line", "a:p/1.1 b:r b:p/1.2", "normal b1 |  | a unknown"),
    Case("the old term comes back", "a:p/1.1 b:r b:p/1.2 a:p/1.1", "normal b1 |  | a stale"),
    Case("one of an equal epoch does not replace the primary", "a:p/1 b:r b:p/1", "normal a1 |  | b twin"),
    Case("one of an equal epoch does not replace a suspect primary", "a:p b:r a:eof b:p", "primary suspect |  | a suspect, b twin"),
    Case("one of an equal epoch that is older than that does not either", "a:p/2 b:r/2 b:p/1", "normal a2 |  | b stale"),
    Case("one of an equal epoch that gives up serves", "a:p b:r b:p b:r", "normal a1 | b"),
    Case("a primary hands over to one that has all it had", "a:p@100 b:r@100 a:r@100 b:p@100", "normal b1 | a"),
    Case("a primary does not hand over to one that has less", "a:p@100 b:r@90 a:r@100 b:p@90", "primary suspect | a | b twin"),
    Case("a primary that steps down leaves nobody", "a:p b:r a:r", "primary suspect | a b"),
    Case("a primary that steps down is replaced", "a:p b:r a:r b:p/2", "normal b2 | a"),
    Case("a primary that steps down comes back", "a:p b:r a:r a:p", "normal a1 | b"),
    Case("a primary that was promoted again is in its new epoch", "a:p b:r a:p/2", "normal a2 | b"),
    Case("a primary that went back in time is not used", "a:p/2 b:r/2 a:p/1", "primary suspect | b | a stale"),
    Case("a suspect primary is replaced", "a:p b:r a:eof b:p/2", "normal b2 |  | a unknown"),
    Case("a lost primary is replaced", "a:p b:r a:eof a:x a:x a:x wait:2000 b:p/2", "normal b2 |  | a unknown"),
    Case("two changes in a row are followed", "a:p b:r c:r b:p/2 c:p/3", "normal c3 |  | a unknown, b unknown"),
    Case("two changes in the wrong order end at the newer", "a:p b:r c:r b:p/2 c:p/3 b:p/2", "normal c3 |  | a unknown, b stale"),
    // An epoch from the future.
    Case("an epoch far ahead is not believed while there is a primary", "a:p b:r b:p/9", "normal a1 |  | b unconfirmed"),
    Case("an epoch far ahead is not believed however often it is said", "a:p b:r b:p/9 b:p/9 b:p/9 b:p/9", "normal a1 |  | b unconfirmed"),
    Case("an epoch far ahead is believed when another lives in it", "a:p b:r c:r/9 b:p/9", "normal b9 | c | a unknown"),
    Case("an epoch far ahead is not believed by one from between", "a:p b:r c:r/3 b:p/9", "normal a1 | c | b unconfirmed"),
    Case("an epoch far ahead is believed without a primary when it is said three times", "a:p b:r a:eof b:p/9 b:p/9 b:p/9", "normal b9 |  | a unknown"),
    Case("an epoch far ahead is not believed without a primary when it is said twice", "a:p b:r a:eof b:p/9 b:p/9", "primary suspect |  | a suspect, b unconfirmed"),
    Case("an epoch without end is not believed", "a:p b:r b:p/18446744073709551615", "normal a1 |  | b unconfirmed"),
    Case("who claimed too much may be a replica again", "a:p b:r b:p/9 b:r", "normal a1 | b"),
    Case("who claimed too much may claim what is next", "a:p b:r b:p/9 b:p/2", "normal b2 |  | a unknown"),
    Case("a replica from the future demotes nobody", "a:p b:r/9", "normal a1 | b"),
    // The primary does not answer.
    Case("one missed probe is nothing", "a:p b:r a:x", "normal a1 | b"),
    Case("two missed probes are nothing", "a:p b:r a:x a:x", "normal a1 | b"),
    Case("three missed probes make it suspect", "a:p b:r a:x a:x a:x", "primary suspect | b | a suspect"),
    Case("an answer between missed probes starts the count anew", "a:p b:r a:x a:x a:p a:x a:x", "normal a1 | b"),
    Case("a lost connection makes it suspect at once", "a:p b:r a:eof", "primary suspect | b | a suspect"),
    Case("it answers again", "a:p b:r a:eof a:x a:p", "normal a1 | b"),
    Case("it is back within its time", "a:p b:r a:eof a:x a:x a:x wait:1500 a:p", "normal a1 |  | b out"),
    Case("it has its time to come back", "a:p b:r! a:eof a:x a:x a:x wait:900 b:r! wait:900 b:r!", "primary suspect | b | a suspect"),
    Case("its time is over", "a:p b:r! a:eof a:x a:x a:x wait:900 b:r! wait:900 b:r! wait:300", "leaderless | b | a suspect"),
    Case("it is back after its time", "a:p b:r a:eof a:x a:x a:x wait:3000 a:p", "normal a1 |  | b out"),
    Case("who still receives keeps it from being lost", "a:p b:r^ a:eof a:x a:x a:x wait:900 b:r^ wait:900 b:r^ wait:300", "primary suspect | b | a suspect"),
    Case("who receives no more lets it be lost", "a:p b:r^ a:eof a:x a:x a:x wait:900 b:r^ wait:900 b:r^ wait:300 b:r!", "leaderless | b | a suspect"),
    // Replicas come and go.
    Case("a replica that does not answer is out", "a:p b:r c:r b:x", "normal a1 | c | b out"),
    Case("a replica that was restarted catches up first", "a:p b:r b:eof b:r@10", "normal a1 |  | b catching up"),
    Case("a replica that has caught up serves", "a:p b:r b:eof b:r@10 b:r@100", "normal a1 | b"),
    Case("a replica has to catch up to what was then, not to what is", "a:p@100 b:r b:eof b:r@10 a:p@200 b:r@100", "normal a1 | b"),
    Case("a replica that caught up and lags still catches up", "a:p b:r b:eof b:r@10 b:r@100 a:p@300 b:r@120~20000", "normal a1 |  | b lagging"),
    Case("a replica that lags is left alone", "a:p b:r b:r@50~20000", "normal a1 |  | b lagging"),
    Case("a replica that lags no more serves", "a:p b:r b:r@50~20000 b:r@90~500", "normal a1 | b"),
    Case("nobody lags behind a primary that is not there", "a:p b:r a:eof b:r@50~20000", "primary suspect | b | a suspect"),
    Case("a new server is unknown first", "a:p b:r c:add", "normal a1 | b | c unknown"),
    Case("a new server catches up", "a:p b:r c:add c:r@5", "normal a1 | b | c catching up"),
    Case("a new server serves", "a:p b:r c:add c:r@5 c:r@100", "normal a1 | b c"),
    Case("a new server that is not ours", "a:p b:r c:add c:zr", "normal a1 | b | c alien"),
    Case("a new server that says it is primary of this epoch", "a:p b:r c:add c:p", "normal a1 | b | c twin"),
    Case("a new server that is the next primary", "a:p b:r c:add c:p/2", "normal c2 |  | a unknown, b diverged"),
    Case("the same server is not added twice", "a:p b:r b:add", "normal a1 | b"),
    Case("a server that is drained", "a:p b:r b:drain", "normal a1 |  | b draining"),
    Case("a server that is drained and removed", "a:p b:r c:r b:drain b:remove", "normal a1 | c"),
    Case("a primary that is drained goes on taking writes", "a:p b:r a:drain", "normal a1 | b | a draining"),
    Case("a drained primary is replaced", "a:p b:r a:drain b:p/2", "normal b2 |  | a draining"),
    Case("a removed server can be added again", "a:p b:r b:remove b:add b:r", "normal a1 | b"),
    Case("a removed primary leaves nobody", "a:p b:r a:remove", "leaderless | b"),
    Case("a removed primary is replaced", "a:p b:r a:remove b:p/2", "normal b2"),
    // More of them.
    Case("a cluster is not known before the last has had its time", "a:p b:r c:r d:hurry", "discovering |  | a unknown, b unknown, c unknown, d unknown"),
    Case("most decide at the start, and the primary may be the stranger", "a:p b:zr c:zr", "leaderless | b c | a alien"),
    Case("a replica that turns into another cluster's is out", "a:p b:r c:r b:zr", "normal a1 | c | b alien"),
    Case("the primary turns into another cluster's, and another is promoted", "a:p b:r a:zp b:p/2", "normal b2 |  | a alien"),
    Case("a stranger of a later epoch replaces nobody", "a:p b:r c:r b:zp/2", "normal a1 | c | b alien"),
    Case("an older epoch after a newer that was removed is still older", "a:p b:r b:p/2 b:remove a:p/1", "leaderless |  | a stale"),
    Case("an epoch after a newer that was removed is new", "a:p b:r b:p/2 b:remove a:p/3", "normal a3"),
    Case("a stale primary gives up and follows", "a:p b:r b:p/2<100 a:p/1 a:r/2", "normal b2 | a"),
    Case("a stale primary is promoted again", "a:p b:r b:p/2 a:p/1 a:p/3", "normal a3 |  | b unknown"),
    Case("a stale primary goes silent and stays out", "a:p b:r b:p/2 a:p/1 a:x", "normal b2 |  | a stale"),
    Case("a replica on the line before that has no more is kept", "a:p/2<90 b:r@80/1", "normal a2 | b"),
    Case("a replica on the line to come does not wait for its primary", "a:p b:r/2 c:r/2", "normal a1 | b c"),
    Case("a primary learns its term", "a:p/1 b:r a:p/1.4 b:p/1.3", "normal a1 |  | b stale"),
    Case("a term that the primary does not know does not replace it", "a:p/1 b:r b:p/1.1", "normal a1 |  | b twin"),
    Case("a later term replaces a suspect primary", "a:p/1.1 b:r a:eof b:p/1.2", "normal b1 |  | a unknown"),
    Case("a term counts within its line only", "a:p/2.1 b:r/2 b:p/1.9", "normal a2 |  | b stale"),
    Case("a dispute ends by a later term", "a:p/1.1 b:p/1.1 b:p/1.2", "normal b1 |  | a stale"),
    Case("of three that dispute two give up", "a:p b:p c:p a:r b:r", "normal c1 | a b"),
    Case("of three that dispute one gives up", "a:p b:p c:p a:r", "disputed | a | b twin, c twin"),
    Case("a twin becomes primary when that hands over", "a:p@100 b:r@100 b:p@100 a:r@100 b:p@100", "normal b1 | a"),
    Case("one that was out is promoted", "a:p b:r c:r c:x c:p/2", "normal c2 | b | a unknown"),
    Case("one that is drained is promoted", "a:p b:r b:drain b:p/2", "normal b2 |  | a unknown, b draining"),
    Case("a primary alone steps down", "a:p a:r", "primary suspect | a"),
    Case("missed probes, a lost connection, and an answer", "a:p b:r a:x a:x a:eof a:p", "normal a1 | b"),
    Case("a new server that never answers changes nothing", "a:p b:r c:add c:x", "normal a1 | b | c out"),
    Case("a number that is free goes to another server", "a:p b:r c:r b:remove d:add d:r", "normal a1 | d c"),
    Case("a lagging replica that was restarted catches up first", "a:p b:r b:r@50~20000 b:eof b:r@50~20000", "normal a1 |  | b catching up"),
    Case("without a primary nobody lags", "a:r~20000 b:r", "leaderless | a b"),
    Case("a removed primary is replaced in the next epoch only", "a:p b:r a:remove b:p/1", "leaderless |  | b twin"),
];

#[rustfmt::skip]
const FAULTS: &[Case] = &[
    // name, scene, whose connections are dropped by the last word | how it stands then
    Case("primary: connection lost", "a:p b:r a:eof", "a | primary suspect | b | a suspect"),
    Case("primary: connection lost, outcome unknown", "a:p b:r a:lost", "a | primary suspect | b | a suspect"),
    Case("primary: refused a write", "a:p b:r a:25006", "a | primary suspect | b | a unknown"),
    Case("primary: overloaded", "a:p b:r a:ov", "- | normal a1 | b"),
    Case("primary: passing failure", "a:p b:r a:tr", "- | normal a1 | b"),
    Case("primary: wrong statement", "a:p b:r a:q", "- | normal a1 | b"),
    Case("primary: connection lost, of an older generation", "a:p b:r a:eof-", "- | normal a1 | b"),
    Case("primary: outcome unknown, of an older generation", "a:p b:r a:lost-", "- | normal a1 | b"),
    Case("primary: refused a write, of an older generation", "a:p b:r a:25006-", "- | normal a1 | b"),
    Case("primary: overloaded, of an older generation", "a:p b:r a:ov-", "- | normal a1 | b"),
    Case("primary: connection lost, of a generation to come", "a:p b:r a:eof+", "- | normal a1 | b"),
    Case("primary: refused a write, of a generation to come", "a:p b:r a:25006+", "- | normal a1 | b"),
    Case("primary: lost twice", "a:p b:r a:eof a:eof", "a | primary suspect | b | a suspect"),
    Case("primary: lost and then of the generation before", "a:p b:r a:eof a:eof-", "- | primary suspect | b | a suspect"),
    Case("primary: lost, back, and then of the generation before", "a:p b:r a:eof a:p a:eof-", "- | normal a1 | b"),
    Case("primary: refused twice", "a:p b:r a:25006 a:25006", "a | primary suspect | b | a unknown"),
    Case("primary: refused, back, refused by the generation before", "a:p b:r a:25006 a:p a:25006-", "- | normal a1 | b"),
    Case("replica: connection lost", "a:p b:r c:r b:eof", "b | normal a1 | c | b suspect"),
    Case("replica: outcome unknown", "a:p b:r c:r b:lost", "b | normal a1 | c | b suspect"),
    Case("replica: refused a write", "a:p b:r c:r b:25006", "- | normal a1 | b c"),
    Case("replica: overloaded", "a:p b:r c:r b:ov", "- | normal a1 | b c"),
    Case("replica: passing failure", "a:p b:r c:r b:tr", "- | normal a1 | b c"),
    Case("replica: wrong statement", "a:p b:r c:r b:q", "- | normal a1 | b c"),
    Case("replica: connection lost, of an older generation", "a:p b:r c:r b:eof-", "- | normal a1 | b c"),
    Case("replica: outcome unknown, of an older generation", "a:p b:r c:r b:lost-", "- | normal a1 | b c"),
    Case("replica: connection lost, of a generation to come", "a:p b:r c:r b:eof+", "- | normal a1 | b c"),
    Case("replica: lost, back, lost by the generation before", "a:p b:r c:r b:eof b:r b:eof-", "- | normal a1 | b c"),
    Case("replica: missed probe", "a:p b:r c:r b:x", "b | normal a1 | c | b out"),
    Case("replica: out, and a connection is lost", "a:p b:r c:r b:x b:eof", "- | normal a1 | c | b out"),
    Case("before it answered: cannot be reached", "a:p b:hurry b:eof", "b | discovering |  | a unknown, b suspect"),
    Case("before it answered: overloaded", "a:p b:hurry b:ov", "- | discovering |  | a unknown, b unknown"),
    Case("before it answered: refused a write", "a:p b:hurry b:25006", "- | discovering |  | a unknown, b unknown"),
    Case("drained: connection lost", "a:p b:r b:drain b:eof", "b | normal a1 |  | b draining"),
    Case("stale primary: connection lost", "a:p/2 b:r/2 c:p/1 c:eof", "c | normal a2 | b | c stale"),
    Case("new primary: all that was made before is dropped", "a:p b:r b:p/2", "b a | normal b2 |  | a unknown"),
    Case("new primary: its old connections say nothing", "a:p b:r b:p/2 b:eof-", "- | normal b2 |  | a unknown"),
    Case("old primary: a fault of it touches nobody else", "a:p b:r b:p/2 a:eof", "a | normal b2 |  | a suspect"),
    Case("old primary: refused a write", "a:p b:r b:p/2 a:25006", "- | normal b2 |  | a unknown"),
    Case("primary: answers as a replica", "a:p b:r a:r", "a | primary suspect | a b"),
    Case("primary: its third missed probe", "a:p b:r a:x a:x a:x", "a | primary suspect | b | a suspect"),
    Case("primary: its second missed probe", "a:p b:r a:x a:x", "- | normal a1 | b"),
    // More of them.
    Case("primary: overloaded while it is suspect", "a:p b:r a:eof a:ov", "- | primary suspect | b | a suspect"),
    Case("primary: drained, and refused a write", "a:p b:r a:drain a:25006", "a | primary suspect | b | a draining"),
    Case("primary: drained, and its connection is lost", "a:p b:r a:drain a:eof", "a | primary suspect | b | a draining"),
    Case("replica: outcome unknown, and again of the generation before", "a:p b:r c:r b:lost b:lost-", "- | normal a1 | c | b suspect"),
    Case("replica: drained, and its connection is lost", "a:p b:r c:r b:drain b:eof", "b | normal a1 | c | b draining"),
    Case("replica: becomes another cluster's", "a:p b:r c:r b:zr", "b | normal a1 | c | b alien"),
    Case("stranger: connection lost", "a:p b:zr b:eof", "b | normal a1 |  | b alien"),
    Case("twin: connection lost", "a:p b:r b:p b:eof", "b | normal a1 |  | b twin"),
    Case("new primary: refused a write at once", "a:p b:r b:p/2 b:25006", "b | primary suspect |  | a unknown, b unknown"),
    Case("new primary: connection lost", "a:p b:r b:p/2 b:eof", "b | primary suspect |  | a unknown, b suspect"),
    Case("without a primary: a replica is lost", "a:r b:r a:eof", "a | leaderless | b | a suspect"),
    Case("without a primary: a replica refuses a write", "a:r b:r a:25006", "- | leaderless | a b"),
    Case("before the cluster is known: refused a write", "a:p b:hurry a:25006", "- | discovering |  | a unknown, b unknown"),
    Case("added: connection lost before it answered", "a:p b:r c:add c:eof", "c | normal a1 | b | c suspect"),
];

#[test]
fn settings_that_cannot_work_are_refused() {
    let end = |name: &str| Endpoint::new(name, &format!("{name}:1")).unwrap();
    let two = || Settings::builder().primary(end("a")).replica(end("b"));
    let many = || (0..64).fold(two(), |s, at| s.replica(end(&format!("n{at}"))));
    let sync = |k, among: &[&str]| two().synchronous(Synchronous::any(k, among.iter().copied()));
    let same_address = Endpoint::new("c", "a:1").unwrap();
    let rows: Vec<(SettingsBuilder, Option<SettingsError>)> = vec![
        (two(), None),
        (Settings::builder(), Some(SettingsError::NoPrimary)),
        (
            Settings::builder().replica(end("b")),
            Some(SettingsError::NoPrimary),
        ),
        (
            two().primary(end("c")),
            Some(SettingsError::TwoPrimaries(2)),
        ),
        (
            two().replica(end("a")),
            Some(SettingsError::DuplicateName("a".into())),
        ),
        (
            two().replica(end("b")),
            Some(SettingsError::DuplicateName("b".into())),
        ),
        (
            two().replica(same_address),
            Some(SettingsError::DuplicateAddress("a:1".into())),
        ),
        (many(), Some(SettingsError::TooMany)),
        (
            two().probe_interval(Duration::ZERO),
            Some(SettingsError::Zero("probe_interval")),
        ),
        (
            two().probe_timeout(Duration::ZERO),
            Some(SettingsError::Zero("probe_timeout")),
        ),
        (
            two().suspect_interval(Duration::ZERO),
            Some(SettingsError::Zero("suspect_interval")),
        ),
        (
            two().retry_after(Duration::ZERO),
            Some(SettingsError::Zero("retry_after")),
        ),
        (
            two().failed_probes(0),
            Some(SettingsError::Zero("failed_probes")),
        ),
        (two().restart_grace(Duration::ZERO), None),
        (sync(1, &["a", "b"]), None),
        (sync(1, &["b"]), None),
        (
            sync(0, &["a", "b"]),
            Some(SettingsError::Acknowledgements {
                found: 0,
                standbys: 1,
            }),
        ),
        (
            sync(2, &["a", "b"]),
            Some(SettingsError::Acknowledgements {
                found: 2,
                standbys: 1,
            }),
        ),
        (
            sync(1, &["x"]),
            Some(SettingsError::UnknownStandby("x".into())),
        ),
        (
            sync(1, &["a", "a"]),
            Some(SettingsError::DuplicateName("a".into())),
        ),
    ];
    for (settings, expected) in rows {
        assert_eq!(settings.build().err(), expected);
    }
}
