//! Which server a read may go to, as a table: the cluster, what the read prefers, whom a retry has tried
//! before, and where it goes.

use crate::stage::Stage;
use tenfold::replica::topology::{NodeSet, SelectError, Selection, select};
use tenfold::replica::{ReadPreference, TagSet};

struct Case(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[test]
fn a_read_goes_where_the_table_says() {
    let wrong: Vec<String> = CASES.iter().filter_map(Case::wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} cases of selection", CASES.len());
}

#[test]
fn no_two_cases_have_one_name() {
    let mut names: Vec<_> = CASES.iter().map(|case| case.0).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CASES.len());
}

impl Case {
    fn wrong(&self) -> Option<String> {
        let Self(name, scene, preference, tried, expected) = self;
        let stage = Stage::play(scene);
        let tried: NodeSet = tried
            .split_whitespace()
            .map(|n| stage.node(n).id())
            .collect();
        let found = select(stage.topology(), &parse(preference), tried);
        let found = describe(&stage, &found);
        (found != *expected).then(|| format!("{name}: expected {expected}, found {found}"))
    }
}

fn parse(preference: &str) -> ReadPreference {
    let tag = |key: &str, value: &str| ReadPreference::Tag(key.into(), value.into());
    match preference {
        "any" => ReadPreference::Any,
        "replica" => ReadPreference::Replica,
        "replica only" => ReadPreference::ReplicaOnly,
        "primary" => ReadPreference::Primary,
        // Sets with `|` between them, `-` for an empty one.
        sets if sets.contains('|') => {
            let set = |tags: &str| {
                let tags = tags.split(',').filter_map(|tag| tag.trim().split_once('='));
                TagSet::new(tags)
            };
            ReadPreference::Tagged(sets.split('|').map(set).collect())
        }
        tagged => {
            let (key, value) = tagged.split_once('=').unwrap();
            tag(key, value)
        }
    }
}

fn describe(stage: &Stage, found: &Result<Selection, SelectError>) -> String {
    match found {
        Ok(selection) => stage.goes(selection),
        Err(SelectError::NoPrimary { phase }) => format!("no primary: {phase}"),
        Err(SelectError::NoReplica { phase }) => format!("no replica: {phase}"),
        Err(SelectError::NoTagged { .. }) => "no tagged".into(),
        Err(SelectError::NoTagSet { sets }) => format!("none of {sets} sets"),
        Err(other) => format!("{other}"),
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Of a cluster that is well.
    Case("a write goes to the primary", "a:p b:r c:r", "primary", "", "primary a"),
    Case("the primary is who says so, not who was thought to be", "a:r b:p c:r", "primary", "", "primary b"),
    Case("any goes to all", "a:p b:r c:r", "any", "", "a b c"),
    Case("a read goes to the replicas", "a:p b:r c:r", "replica", "", "b c"),
    Case("a read goes to whoever is a replica", "a:r b:p c:r", "replica", "", "a c"),
    Case("replica only goes to the replicas", "a:p b:r c:r", "replica only", "", "b c"),
    Case("a tag goes to those who have it, the primary too", "a:p b:r c:r", "zone=1", "", "a c"),
    Case("a tag goes to a replica", "a:p b:r c:r", "zone=2", "", "b"),
    Case("a tag that all have goes to all", "a:p b:r c:r", "dc=x", "", "a b c"),
    Case("a tag that one has goes there", "a:p b:r c:r d:r", "for=reports", "", "d"),
    Case("a tag with another value is another tag", "a:p b:r c:r", "zone=3", "", "no tagged"),
    Case("a tag that nobody has goes nowhere", "a:p b:r c:r", "for=reports", "", "no tagged"),
    Case("a tag of the primary alone goes there", "a:p b:r", "zone=1", "", "a"),
    Case("a primary alone takes writes", "a:p", "primary", "", "primary a"),
    Case("a primary alone is any", "a:p", "any", "", "a"),
    Case("a primary alone takes reads within its share", "a:p", "replica", "", "fallback a"),
    Case("a primary alone is no replica", "a:p", "replica only", "", "no replica: normal"),
    // Of one that is not known yet.
    Case("before all have answered nothing is written", "a:p b:hurry", "primary", "", "no primary: discovering"),
    Case("before all have answered nothing is read", "a:p b:hurry c:r", "any", "", "no replica: discovering"),
    Case("before all have answered no replica is read", "a:hurry b:r", "replica", "", "no replica: discovering"),
    Case("before all have answered no tag is found", "a:p b:hurry", "dc=x", "", "no tagged"),
    Case("who fails has answered in a way", "a:p b:x", "primary", "", "primary a"),
    Case("who takes too long has failed", "a:p b:hurry wait:1000", "primary", "", "primary a"),
    // Without a primary.
    Case("replicas alone are read", "a:r b:r", "replica", "", "a b"),
    Case("replicas alone are any", "a:r b:r", "any", "", "a b"),
    Case("replicas alone take no writes", "a:r b:r", "primary", "", "no primary: leaderless"),
    Case("replicas alone have their tags", "a:r b:r", "zone=2", "", "b"),
    Case("a suspect primary takes no writes", "a:p b:r a:eof", "primary", "", "no primary: primary suspect"),
    Case("a suspect primary is not any", "a:p b:r a:eof", "any", "", "b"),
    Case("while the primary is suspect replicas are read", "a:p b:r c:r a:eof", "replica", "", "b c"),
    Case("a suspect primary takes no reads instead of replicas", "a:p b:x a:eof", "replica", "", "no replica: primary suspect"),
    Case("a suspect primary has no tags", "a:p b:r a:eof", "zone=1", "", "no tagged"),
    Case("a primary that refused a write takes none", "a:p b:r a:25006", "primary", "", "no primary: primary suspect"),
    Case("a primary that refused a write and says it is one takes them again", "a:p b:r a:25006 a:p", "primary", "", "primary a"),
    Case("a primary that became a replica takes none", "a:p b:r a:r", "primary", "", "no primary: primary suspect"),
    Case("a primary that became a replica is read as one", "a:p b:r a:r", "replica", "", "a b"),
    Case("a primary that came back in time takes writes", "a:p b:r a:eof a:p", "primary", "", "primary a"),
    Case("a primary that is lost leaves reads to the replicas", "a:p b:r c:r a:eof wait:100 a:x a:x a:x b:r! c:r! wait:2000 b:r! c:r!", "replica", "", "b c"),
    Case("a primary that is lost takes no writes", "a:p b:r a:eof a:x a:x a:x b:r! wait:2000 a:x", "primary", "", "no primary: leaderless"),
    Case("two missed probes are no reason to stop writes", "a:p b:r a:x a:x", "primary", "", "primary a"),
    Case("three missed probes are", "a:p b:r a:x a:x a:x", "primary", "", "no primary: primary suspect"),
    // Replicas that are not well.
    Case("a replica that does not answer is out at once", "a:p b:r c:r b:x", "replica", "", "c"),
    Case("a replica whose connection was lost is out at once", "a:p b:r c:r b:eof", "replica", "", "c"),
    Case("a replica whose connection was lost in the middle is out", "a:p b:r c:r b:lost", "replica", "", "c"),
    Case("a replica that has too much to do stays", "a:p b:r c:r b:ov", "replica", "", "b c"),
    Case("a replica with a passing failure stays", "a:p b:r c:r b:tr", "replica", "", "b c"),
    Case("a replica that was sent nonsense stays", "a:p b:r c:r b:q", "replica", "", "b c"),
    Case("a replica that was sent a write stays", "a:p b:r c:r b:25006", "replica", "", "b c"),
    Case("a replica that answers again is back", "a:p b:r c:r b:eof b:r", "replica", "", "b c"),
    Case("a replica that answers again and is behind is not", "a:p b:r c:r b:eof b:r@50", "replica", "", "c"),
    Case("a replica that has caught up is back", "a:p b:r c:r b:eof b:r@50 b:r@100", "replica", "", "b c"),
    Case("a replica that was never heard of is not read", "a:p b:r c:x", "replica", "", "b"),
    Case("a replica that is drained gets nothing new", "a:p b:r c:r b:drain", "replica", "", "c"),
    Case("a replica that is drained and answers gets nothing new", "a:p b:r c:r b:drain b:r", "replica", "", "c"),
    Case("a replica that was removed gets nothing", "a:p b:r c:r c:remove", "replica", "", "b"),
    Case("a replica that lags is not read", "a:p b:r c:r c:r@50~20000", "replica", "", "b"),
    Case("a replica that lags is not any", "a:p b:r c:r c:r@50~20000", "any", "", "a b"),
    Case("a replica that lags has no tags", "a:p b:r c:r d:r d:r@50~20000", "for=reports", "", "no tagged"),
    Case("a replica of another cluster is not read", "a:p b:r c:zr", "replica", "", "b"),
    Case("a primary of another cluster is not written to", "a:p b:r c:zp", "primary", "", "primary a"),
    Case("a primary of another cluster is not any", "a:p b:r c:zp", "any", "", "a b"),
    Case("a former primary is not any", "a:p/2 b:r/2 c:p/1", "any", "", "a b"),
    Case("a former primary has no tags", "a:p/2 b:r/2 c:p/1", "zone=1", "", "a"),
    Case("a replica that has more than the primary kept is not read", "a:p/2<90 b:r/2 c:r@95/1", "replica", "", "b"),
    Case("a replica that has no more than was kept is read", "a:p/2<90 b:r/2 c:r@90/1", "replica", "", "b c"),
    Case("a new replica is not read before it has caught up", "a:p b:r c:add c:r@10", "replica", "", "b"),
    Case("a new replica is read when it has caught up", "a:p b:r c:add c:r@10 c:r@100", "replica", "", "b c"),
    // No replica is left.
    Case("with all replicas lost the primary takes reads within its share", "a:p b:r c:r b:eof c:eof", "replica", "", "fallback a"),
    Case("with all replicas silent the primary takes reads within its share", "a:p b:x c:x", "replica", "", "fallback a"),
    Case("with all replicas lagging the primary takes reads within its share", "a:p b:r b:r@50~20000", "replica", "", "fallback a"),
    Case("with all replicas drained the primary takes reads within its share", "a:p b:r b:drain", "replica", "", "fallback a"),
    Case("with all replicas lost replica only goes nowhere", "a:p b:r c:r b:eof c:eof", "replica only", "", "no replica: normal"),
    Case("with all replicas lost any is the primary", "a:p b:r b:eof", "any", "", "a"),
    Case("with all lost nothing is read", "a:p b:r b:eof a:eof", "any", "", "no replica: primary suspect"),
    // A retry goes elsewhere.
    Case("a retry goes to another replica", "a:p b:r c:r", "replica", "b", "c"),
    Case("a retry goes to one of the others", "a:p b:r c:r d:r", "replica", "b", "c d"),
    Case("a second retry goes to the third", "a:p b:r c:r d:r", "replica", "b c", "d"),
    Case("a retry that has tried all replicas goes to the primary", "a:p b:r c:r", "replica", "b c", "fallback a"),
    Case("a retry that has tried everybody may go to the replicas again", "a:p b:r c:r", "replica", "a b c", "b c"),
    Case("a retry on replicas only may go there again", "a:p b:r", "replica only", "b", "b"),
    Case("a retry on replicas only goes to the other", "a:p b:r c:r", "replica only", "b", "c"),
    Case("a retry of any goes elsewhere", "a:p b:r c:r", "any", "a", "b c"),
    Case("a retry of any that has tried the replicas goes to the primary", "a:p b:r c:r", "any", "b c", "a"),
    Case("a retry of any that has tried everybody starts again", "a:p b:r", "any", "a b", "a b"),
    Case("a retry on the primary has nowhere else to go", "a:p b:r", "primary", "a", "primary a"),
    Case("a retry on the primary does not mind the replicas", "a:p b:r", "primary", "b", "primary a"),
    Case("a retry by a tag goes to another with it", "a:p b:r c:r d:r", "zone=2", "b", "d"),
    Case("a retry by a tag of one alone goes there again", "a:p b:r c:r d:r", "for=reports", "d", "d"),
    Case("a retry by a tag does not go to one without it", "a:p b:r c:r", "zone=2", "b", "b"),
    Case("a retry does not go to one that is out", "a:p b:r c:r c:x", "replica", "b", "fallback a"),
    Case("a retry without a primary goes to the other replica", "a:r b:r", "replica", "a", "b"),
    Case("a retry without a primary that has tried all starts again", "a:r b:r", "replica", "a b", "a b"),
    // Sets of tags, the first that anybody has.
    Case("a set asks for all of its tags", "a:p b:r c:r d:r", "zone=2,for=reports|", "", "d"),
    Case("the first set that anybody has is taken", "a:p b:r c:r d:r", "for=reports|zone=2|-", "", "d"),
    Case("a set that nobody has leaves it to the next", "a:p b:r c:r", "for=reports|zone=2|-", "", "b"),
    Case("a set that only one who is out has leaves it to the next", "a:p b:r c:r b:x", "zone=2|zone=1|-", "", "a c"),
    Case("a set that only one who lags has leaves it to the next", "a:p b:r c:r b:r@50~20000", "zone=2|zone=1", "", "a c"),
    Case("an empty set at the end is anybody", "a:p b:r c:r", "for=reports|-", "", "a b c"),
    Case("an empty set at the beginning makes the others idle", "a:p b:r c:r", "-|zone=2", "", "a b c"),
    Case("with none of the sets nobody is read", "a:p b:r c:r", "for=reports|zone=3", "", "none of 2 sets"),
    Case("a tag of one set and a tag of another are no set", "a:p b:r c:r", "zone=2,for=reports|zone=1,for=reports", "", "none of 2 sets"),
    Case("a set of the primary alone is the primary", "a:p b:r", "zone=1|zone=2", "", "a"),
    Case("a set of a suspect primary alone leaves it to the next", "a:p b:r a:eof", "zone=1|zone=2", "", "b"),
    Case("an empty set finds nobody where nobody serves", "a:p b:x a:eof", "zone=2|-", "", "none of 2 sets"),
    Case("a retry takes another of the same set first", "a:p b:r c:r d:r", "zone=2|-", "b", "d"),
    Case("a retry takes the next set before it goes to the same server", "a:p b:r c:r", "zone=2|zone=1", "b", "a c"),
    Case("a retry that has tried all of all sets starts again", "a:p b:r", "zone=2|zone=1", "a b", "b"),
    // More of them.
    Case("a twin of the primary is not any", "a:p b:r c:r c:p", "any", "", "a b"),
    Case("while two are disputed nothing is written", "a:p b:p c:r", "primary", "", "no primary: disputed"),
    Case("while two are disputed the replica is read", "a:p b:p c:r", "replica", "", "c"),
    Case("while two are disputed neither is any", "a:p b:p c:r", "any", "", "c"),
    Case("while two are disputed neither has tags", "a:p b:p c:r", "zone=2", "", "no tagged"),
    Case("a primary that is drained is still any", "a:p b:r a:drain", "any", "", "a b"),
    Case("a primary that is drained takes reads where there are no replicas", "a:p b:x a:drain", "replica", "", "fallback a"),
    Case("a replica that is drained has no tags", "a:p b:r b:drain", "zone=2", "", "no tagged"),
    Case("after the primary was removed nothing is written", "a:p b:r a:remove", "primary", "", "no primary: leaderless"),
    Case("after the primary was removed the replicas are read", "a:p b:r c:r a:remove", "any", "", "b c"),
    Case("the new primary takes the writes", "a:p b:r c:r b:p/2<100", "primary", "", "primary b"),
    Case("the new primary is no replica, and the old one not known to be", "a:p b:r c:r b:p/2<100", "replica", "", "c"),
    Case("the old primary is read once it follows", "a:p b:r b:p/2<100 a:r/2", "replica", "", "a"),
    Case("a retry that has tried the new primary goes to the other", "a:p b:r c:r b:p/2<100", "any", "b", "c"),
    Case("a server that took the number of one that was removed is not that one", "a:p b:r c:r b:remove d:add d:r", "zone=2", "", "d"),
    Case("whom nobody knows to be a server was not tried", "a:p b:r c:r", "replica", "a", "b c"),
];
