use super::*;

#[test]
fn jump_answers_as_the_reference_does() {
    for (key, buckets) in [
        (0, [0; 19]),
        (
            1,
            [0, 0, 0, 0, 0, 0, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 17, 17],
        ),
        (
            0xdead_beef,
            [0, 1, 2, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 16, 16, 16],
        ),
        (
            0x0ddc_0ffe_ebad_f00d,
            [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 15, 15, 15, 15],
        ),
    ] {
        let found: Vec<_> = (1..=19).map(|n| jump(key, n)).collect();
        assert_eq!(found, buckets, "key {key:x}");
    }
    let hundred = [
        0, 55, 62, 8, 45, 59, 86, 97, 82, 59, 73, 37, 17, 56, 86, 21, 90, 37, 38, 83,
    ];
    assert!(
        hundred
            .iter()
            .zip(0..)
            .all(|(&bucket, key)| jump(key, 100) == bucket)
    );
    for (key, n, bucket) in [
        (10_863_919_174_838_991, 11, 6),
        (2_016_238_256_797_177_309, 11, 3),
        (1_673_758_223_894_951_030, 11, 5),
        (2, 100_001, 80_343),
        (2201, 100_001, 22_152),
        (2202, 100_001, 15_018),
        (1, 60, 55),
        (2, 60, 46),
    ] {
        assert_eq!(jump(key, n), bucket, "{key} of {n}");
    }
}

#[test]
fn jump_answers_as_guava_does() {
    let numbers = |line: &str| -> Vec<u32> {
        let words = line.split_whitespace();
        words.map(|word| word.parse().unwrap()).collect()
    };
    let sizes = numbers("1 2 3 5 10 11 16 17 100 1000 16384 65536 100001 2147483647");
    for (key, buckets) in [
        (1, "0 0 0 0 6 6 6 6 55 549 8421 21134 94075 262355607"),
        (3, "0 0 2 3 8 8 8 8 8 961 12990 59579 71898 1315363102"),
        (
            0xdead_beef,
            "0 1 2 3 5 5 5 16 87 285 10857 64244 64244 1452406526",
        ),
        (
            u64::MAX,
            "0 1 2 2 9 10 10 10 92 313 13242 18311 18311 699554662",
        ),
        (
            1 << 63,
            "0 1 1 4 5 5 12 12 84 453 14577 53854 74317 1119800965",
        ),
    ] {
        let found: Vec<_> = sizes.iter().map(|&n| jump(key, n)).collect();
        assert_eq!(found, numbers(buckets), "{key:x}");
    }
}

#[test]
fn jump_stays_or_goes_to_the_new_bucket() {
    let mut rng = crate::rng::Rng::with_seed(1);
    let random = std::iter::repeat_with(|| rng.next_u64()).take(20);
    let edges = [u64::MAX, 0, 1, 2, i64::MAX as u64, i64::MIN as u64];
    for key in edges.into_iter().chain(random) {
        let mut last = 0;
        for n in 1..=100_000 {
            let bucket = jump(key, n);
            assert!(
                bucket == last || bucket == n - 1,
                "key {key:x}, {n} buckets"
            );
            last = bucket;
        }
    }
    assert_eq!(jump(7, 0), 0);
}

#[test]
fn redis_slots_are_those_of_a_real_server() {
    for (key, slot) in [
        ("123456789", 12_739),
        ("foo", 12_182),
        ("hello", 866),
        ("foo{hash_tag}", 2515),
        ("{user1000}.following", 3443),
        ("user1000", 3443),
        ("foo{}{bar}", 8363),
        ("foo{bar}{zap}", 5061),
        ("{a", 10_276),
        ("key:0", 2592),
        ("key:1", 6657),
        ("order:1000000", 8231),
        ("tenant{7}:x", 1716),
    ] {
        assert_eq!(redis_slot(key.as_bytes()), slot, "{key}");
    }
    assert_eq!(redis_slot(b""), 0);
    // A tag may contain an opening brace.
    assert_eq!(redis_slot(b"foo{{bar}}zap"), redis_slot(b"{bar"));
}

#[test]
fn a_permutation_of_maglev_reaches_every_entry() {
    assert_eq!(maglev(7, &[(3, 4)]), [0; 7]);
    for skip in 1..7 {
        let mut visited: Vec<u32> = (0..7).map(|j| (3 + j * skip) % 7).collect();
        visited.sort_unstable();
        assert_eq!(visited, [0, 1, 2, 3, 4, 5, 6]);
    }
    // Even where the entries are not prime, every one has an owner.
    assert!(maglev(8, &[(0, 2), (1, 4)]).iter().all(|&owner| owner < 2));
    assert!(maglev(8, &[]).is_empty());
}

/// Table 1 of the paper. When the middle backend goes, an entry that was not its own
/// moves, too.
#[test]
fn maglev_answers_as_the_paper_does() {
    let (b0, b1, b2) = ((3, 4), (0, 2), (3, 1));
    assert_eq!(maglev(7, &[b0, b1, b2]), [1, 0, 1, 0, 2, 2, 0]);
    assert_eq!(maglev(7, &[b0, b2]), [0, 0, 0, 0, 1, 1, 1]);
}

#[test]
fn entries_of_maglev_differ_by_one_at_most() {
    let mut rng = crate::rng::Rng::with_seed(1);
    for (entries, backends) in [(7, 3), (65_537, 100), (65_537, 655), (655_373, 1000)] {
        let draw = |rng: &mut crate::rng::Rng| rng.below(u64::from(entries) - 1) as u32;
        let orders: Vec<_> = (0..backends)
            .map(|_| (draw(&mut rng), draw(&mut rng) + 1))
            .collect();
        let mut counts = vec![0; backends];
        for owner in maglev(entries, &orders) {
            counts[owner as usize] += 1;
        }
        let even = entries / backends as u32;
        assert!(counts.iter().all(|count| [even, even + 1].contains(count)));
    }
}

#[test]
fn primes_are_primes() {
    let primes: Vec<_> = (0..30).filter(|&n| maglev::is_prime(n)).collect();
    assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    assert_eq!(maglev::prime_from(65_536), 65_537);
    assert_eq!(maglev::prime_from(MAX_SLOTS - 3), MAX_SLOTS - 3);
}

/// What rendezvous is by definition: every node has a score for every slot, the
/// moment of its first dart, and the best has it.
#[test]
fn rendezvous_is_the_best_score_of_all_nodes() {
    let members: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .zip([1, 2, 7, 3])
        .enumerate()
        .map(|(id, (name, weight))| Member {
            id: id as u16,
            name,
            weight,
        })
        .collect();
    let slots = 64;
    let all = rendezvous::owners(slots, &members);
    // Of two nodes alone, the better for a slot is the better among all as well.
    for slot in 0..slots as usize {
        for other in &members {
            let winner = members[usize::from(all[slot])];
            if other.id != winner.id {
                let mut two = [winner, *other];
                two.sort_by_key(|member| member.name);
                assert_eq!(rendezvous::owners(slots, &two)[slot], winner.id);
            }
        }
    }
}
