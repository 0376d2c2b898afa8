//! Until loads exist.
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Mutex;
use tenfold::cache::Cache;
static LOCK: Mutex<()> = Mutex::new(());
pub(crate) trait Loads<K, V> {
    fn get_with(&self, key: K, load: impl FnOnce() -> V) -> Result<V, Infallible>;
}
impl<K: Hash + Eq + Copy, V: Clone> Loads<K, V> for Cache<K, V> {
    fn get_with(&self, key: K, load: impl FnOnce() -> V) -> Result<V, Infallible> {
        let _guard = LOCK.lock().unwrap();
        if let Some(v) = self.get(&key) {
            return Ok(v);
        }
        let v = load();
        self.insert(key, v.clone());
        Ok(v)
    }
}
