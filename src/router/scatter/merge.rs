use std::cmp::Ordering;
use std::fmt;
use std::iter::FusedIterator;

/// Merges lists that are sorted by `compare` into one that is.
///
/// Where two compare equal the earlier list's comes first. Nothing is taken from a list
/// before it is needed: the first element of each for the first of all, and then one for
/// each more. So the newest 20 of `n` lists are `merge_by(…).take(20)`, and take `n + 19`
/// elements at most; each costs at most 3 log₂ `n` comparisons.
///
/// What of the lists is not sorted comes out unsorted, and nothing is lost.
///
/// ```
/// use tenfold::router::scatter::merge_by;
///
/// let lists = [vec![9, 6, 1], vec![], vec![8, 7]];
/// let merged = merge_by(lists, |a, b| b.cmp(a)); // descending
/// assert_eq!(merged.take(4).collect::<Vec<_>>(), [9, 8, 7, 6]);
/// ```
pub fn merge_by<I: IntoIterator, C>(
    lists: impl IntoIterator<Item = I>,
    compare: C,
) -> Merge<I::IntoIter, C>
where
    C: FnMut(&I::Item, &I::Item) -> Ordering,
{
    let lists: Vec<_> = lists.into_iter().map(I::into_iter).collect();
    Merge {
        heads: Vec::new(),
        next: (0..lists.len()).collect(),
        lists,
        unsettled: false,
        compare,
    }
}

/// The same for lists sorted by a key; if descending, by a [`Reverse`](std::cmp::Reverse)d one.
///
/// ```
/// use tenfold::router::scatter::merge_by_key;
///
/// let lists = [["kiwi", "banana"], ["fig", "papaya"]];
/// let merged = merge_by_key(lists, |fruit| fruit.len());
/// assert_eq!(merged.collect::<Vec<_>>(), ["fig", "kiwi", "banana", "papaya"]);
/// ```
pub fn merge_by_key<I: IntoIterator, Q: Ord>(
    lists: impl IntoIterator<Item = I>,
    mut key: impl FnMut(&I::Item) -> Q,
) -> Merge<I::IntoIter, impl FnMut(&I::Item, &I::Item) -> Ordering> {
    merge_by(lists, move |a, b| key(a).cmp(&key(b)))
}

/// Sorted lists as one; made by [`merge_by`] and [`merge_by_key`].
#[must_use = "an iterator does nothing until it is asked"]
pub struct Merge<I: Iterator, C> {
    lists: Vec<I>,
    /// A binary heap: the first element of each list, and its number.
    heads: Vec<(I::Item, usize)>,
    /// The lists whose first element is not in there yet.
    next: Vec<usize>,
    /// The heap's root was taken, and another is there that may not be the first.
    unsettled: bool,
    compare: C,
}

impl<I: Iterator, C: FnMut(&I::Item, &I::Item) -> Ordering> Merge<I, C> {
    fn precedes(&mut self, a: usize, b: usize) -> bool {
        let ((a, of_a), (b, of_b)) = (&self.heads[a], &self.heads[b]);
        (self.compare)(a, b).then(of_a.cmp(of_b)).is_lt()
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.precedes(at, parent) {
                return;
            }
            self.heads.swap(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut first = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heads.len() && self.precedes(child, first) {
                    first = child;
                }
            }
            if first == at {
                return;
            }
            self.heads.swap(at, first);
            at = first;
        }
    }
}

impl<I: Iterator, C: FnMut(&I::Item, &I::Item) -> Ordering> Iterator for Merge<I, C> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        // What may panic, a list or a comparison, is done while every element is in its place.
        if std::mem::replace(&mut self.unsettled, false) {
            self.sink(0);
        }
        while let Some(list) = self.next.last().copied() {
            let item = self.lists[list].next();
            self.next.pop();
            if let Some(item) = item {
                self.heads.push((item, list));
                self.rise(self.heads.len() - 1);
            }
        }
        if self.heads.is_empty() {
            return None;
        }
        let (item, list) = self.heads.swap_remove(0);
        self.unsettled = true;
        self.next.push(list);
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (mut low, mut high) = (self.heads.len(), Some(self.heads.len()));
        for list in &self.lists {
            let (least, most) = list.size_hint();
            low = low.saturating_add(least);
            high = high
                .zip(most)
                .and_then(|(high, most)| high.checked_add(most));
        }
        (low, high)
    }
}

impl<I: FusedIterator, C: FnMut(&I::Item, &I::Item) -> Ordering> FusedIterator for Merge<I, C> {}

impl<I: Iterator, C> fmt::Debug for Merge<I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge")
            .field("lists", &self.lists.len())
            .finish_non_exhaustive()
    }
}
