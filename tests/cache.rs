use tenfold::cache::{Cache, Policy};
#[test]
fn smoke() {
    for policy in Policy::ALL {
        let c: Cache<u64, u64> = Cache::builder()
            .max_entries(1000)
            .policy(policy)
            .build()
            .unwrap();
        for i in 0..10_000u64 {
            c.insert(i, i * 2);
            assert!(c.len() <= 1000);
            assert_eq!(c.get(&i), Some(i * 2));
        }
        assert_eq!(c.len(), 1000);
        c.resize(10);
        assert_eq!(c.len(), 10);
        c.get_ref(&9999);
    }
}
