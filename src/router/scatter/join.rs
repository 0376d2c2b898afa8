use std::collections::HashMap;
use std::hash::Hash;

/// Joins the rows of two tables that have equal keys: the join that a database cannot do when
/// its tables lie on different shards.
///
/// Answers what two nested loops do, in their order, but looks at each row once. A row
/// without a partner is left out. `None` equals `None`: who wants what SQL does with `NULL`
/// leaves those rows out.
///
/// Costs a hash table over `right` at once, of 8 bytes a row and an entry per key; `left` is
/// read as pairs are taken.
///
/// ```
/// use tenfold::router::scatter::join;
///
/// let posts = [("tea", 7), ("rain", 8), ("cats", 7)];
/// let users = [(7, "ada"), (9, "bob")];
/// let joined = join(&posts, &users, |post| post.1, |user| user.0);
/// let titles: Vec<_> = joined.map(|(post, user)| (post.0, user.1)).collect();
/// assert_eq!(titles, [("tea", "ada"), ("cats", "ada")]);
/// ```
pub fn join<'l, 'r, L, R, Q: Hash + Eq>(
    left: &'l [L],
    right: &'r [R],
    left_key: impl FnMut(&'l L) -> Q,
    right_key: impl FnMut(&'r R) -> Q,
) -> impl Iterator<Item = (&'l L, &'r R)> {
    let joined = left_join(left, right, left_key, right_key);
    joined.filter_map(|(left, right)| Some((left, right?)))
}

/// The same, but a row of `left` without a partner is there once, with none.
///
/// ```
/// use tenfold::router::scatter::left_join;
///
/// let (posts, likes) = ([("tea", 7), ("rain", 8)], [(7, "ada"), (7, "bob")]);
/// let joined = left_join(&posts, &likes, |post| post.1, |like| like.0);
/// let who: Vec<_> = joined.map(|(post, like)| (post.0, like.map(|like| like.1))).collect();
/// assert_eq!(who, [("tea", Some("ada")), ("tea", Some("bob")), ("rain", None)]);
/// ```
pub fn left_join<'l, 'r, L, R, Q: Hash + Eq>(
    left: &'l [L],
    right: &'r [R],
    mut left_key: impl FnMut(&'l L) -> Q,
    mut right_key: impl FnMut(&'r R) -> Q,
) -> impl Iterator<Item = (&'l L, Option<&'r R>)> {
    let mut first = HashMap::new();
    let mut next = vec![NONE; right.len()];
    // From behind, so that each key's chain begins with its first row.
    for (number, row) in right.iter().enumerate().rev() {
        next[number] = first.insert(right_key(row), number).unwrap_or(NONE);
    }
    let mut left = left.iter();
    let mut partner = None;
    std::iter::from_fn(move || {
        let (row, number) = if let Some(more) = partner.take() {
            more
        } else {
            let row = left.next()?;
            (row, *first.get(&left_key(row)).unwrap_or(&NONE))
        };
        let found = right.get(number);
        if found.is_some() && next[number] != NONE {
            partner = Some((row, next[number]));
        }
        Some((row, found))
    })
}

/// The number of no row.
const NONE: usize = usize::MAX;
