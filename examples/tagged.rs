//! One change, shown on many pages: what a shop does with and without tags.
//!
//! ```text
//! cargo run --example tagged
//! ```
//!
//! The program fails if one of its claims does not hold.

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;

use tenfold::cache::tagged::{Namespaced, Tagged};
use tenfold::cache::{Guard, LoadError};

const PRODUCTS: u32 = 100;
const PAGES: u32 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    println!("A price changes. {PAGES} pages are cached, each shows ten of {PRODUCTS} products.");
    let shop = Shop::open();
    shop.visit_every_page()?;
    shop.queries.set(0);
    shop.change_price(7);
    let stale = shop.visit_every_page()?;
    let queries = shop.queries.get();
    println!("  pages that show the old price afterwards: {stale}");
    println!("  pages rendered anew: {queries}, those that show the product");
    check(stale == 0, "an invalidation reaches every page of its tag")?;
    check(queries == PAGES / 10, "and no other page")?;

    println!("\nA tenant leaves. Two tenants share one cache, with the same keys.");
    let cache: Tagged<Namespaced<u32>, &str> = Tagged::new(1000);
    let (red, blue) = (cache.namespace("red"), cache.namespace("blue"));
    for key in 0..100 {
        red.insert(key, "red's");
        blue.insert(key, "blue's");
    }
    red.invalidate_all();
    let left = |of: &tenfold::cache::tagged::Namespace<u32, &str>| {
        (0..100).filter(|key| of.get(key).is_some()).count()
    };
    println!(
        "  entries left: {} of red, {} of blue",
        left(&red),
        left(&blue)
    );
    check(left(&red) == 0 && left(&blue) == 100, "one tenant is gone")?;
    println!("  {}", cache.stats());

    println!("\nA scan for products that do not exist.");
    let guard = Guard::new(|id: &u32| *id < PRODUCTS, |_| {});
    let asked = (0..10_000).filter(|id| guard.may_contain(id)).count();
    println!("  {asked} of 10000 reach the store: {}", guard.stats());
    check(
        asked == PRODUCTS as usize,
        "the guard answers for the others",
    )?;
    Ok(())
}

struct Shop {
    pages: Tagged<u32, Vec<(u32, u32)>>,
    prices: Cell<HashMap<u32, u32>>,
    queries: Cell<u32>,
}

impl Shop {
    fn open() -> Self {
        Self {
            pages: Tagged::new(10_000),
            prices: Cell::default(),
            queries: Cell::new(0),
        }
    }

    /// Returns how many pages showed an old price.
    fn visit_every_page(&self) -> Result<usize, LoadError<Infallible>> {
        let mut stale = 0;
        for page in 0..PAGES {
            let shown = self.pages.get_with(page, || {
                let rows = self.render(page);
                let tags: Vec<_> = rows.iter().map(|(id, _)| format!("product:{id}")).collect();
                (rows, tags)
            })?;
            stale += usize::from(shown.iter().any(|(id, price)| self.price(*id) != *price));
        }
        Ok(stale)
    }

    fn render(&self, page: u32) -> Vec<(u32, u32)> {
        self.queries.set(self.queries.get() + 1);
        let first = page % 10 * 10;
        (first..first + 10).map(|id| (id, self.price(id))).collect()
    }

    fn price(&self, product: u32) -> u32 {
        let prices = self.prices.take();
        let price = prices.get(&product).copied().unwrap_or(100);
        self.prices.set(prices);
        price
    }

    /// First the store, then the cache.
    fn change_price(&self, product: u32) {
        let mut prices = self.prices.take();
        prices.insert(product, 90);
        self.prices.set(prices);
        self.pages.invalidate_tag(format!("product:{product}"));
    }
}

fn check(holds: bool, claim: &str) -> Result<(), Box<dyn Error>> {
    if holds {
        return Ok(());
    }
    Err(format!("does not hold: {claim}").into())
}
