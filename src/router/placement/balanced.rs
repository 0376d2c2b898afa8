use super::Member;

/// The owner of each slot when nobody owned any before: one run of slots per
/// node, in the order of names. Runs end where the shares so far add up to,
/// rounded; so each has its share to within one slot. (`redis-cli` divides its
/// slots the same way.)
pub(super) fn fresh(slots: u32, members: &[Member<'_>]) -> Vec<u16> {
    let total = total_weight(members);
    let mut owners = Vec::with_capacity(slots as usize);
    let mut sum = 0_u128;
    for member in members {
        sum += u128::from(member.weight);
        let end = (2 * u128::from(slots) * sum + total) / (2 * total);
        owners.resize(end as usize, member.id);
    }
    owners
}

/// The owner of each slot after a change of nodes or weights, with as few moves
/// as there can be: only who has more than its share gives, only who has less
/// takes. Givers part with their last slots, so what moves is long runs.
pub(super) fn rebalanced(previous: &[u16], members: &[Member<'_>]) -> Vec<u16> {
    let mut have = vec![0_u32; 1 << 16];
    for &owner in previous {
        have[usize::from(owner)] += 1;
    }
    let quotas = quotas(previous.len() as u32, members, &have);
    // How many more slots each may keep; nodes that are gone keep none.
    let mut keep = vec![0_u32; 1 << 16];
    for (member, &quota) in members.iter().zip(&quotas) {
        keep[usize::from(member.id)] = quota;
    }
    let mut owners = previous.to_vec();
    let mut free = Vec::new();
    for (slot, &owner) in previous.iter().enumerate() {
        match &mut keep[usize::from(owner)] {
            0 => free.push(slot),
            left => *left -= 1,
        }
    }
    let mut free = free.into_iter();
    for member in members {
        for slot in free.by_ref().take(keep[usize::from(member.id)] as usize) {
            owners[slot] = member.id;
        }
    }
    owners
}

/// How many slots each node should have: its share, rounded down, and one more
/// for as many as the rest allows. Those who hold that one already come
/// first, so that it need not move; then who is furthest below its share.
fn quotas(slots: u32, members: &[Member<'_>], have: &[u32]) -> Vec<u32> {
    let total = total_weight(members);
    let share = |member: &Member<'_>| u128::from(member.weight) * u128::from(slots);
    let mut quotas: Vec<u32> = members
        .iter()
        .map(|member| (share(member) / total) as u32)
        .collect();
    let rest = slots - quotas.iter().sum::<u32>();
    let mut takers: Vec<usize> = (0..members.len())
        .filter(|&i| share(&members[i]) % total > 0)
        .collect();
    takers.sort_by_key(|&i| {
        let holds_it = have[usize::from(members[i].id)] > quotas[i];
        (!holds_it, total - share(&members[i]) % total, i)
    });
    for &i in takers.iter().take(rest as usize) {
        quotas[i] += 1;
    }
    quotas
}

fn total_weight(members: &[Member<'_>]) -> u128 {
    members.iter().map(|m| u128::from(m.weight)).sum()
}
