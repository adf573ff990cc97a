//! The simulator.

mod broker;
mod check;
mod fate;
mod fuse;
mod input;
mod life;
mod output;
mod seed;
mod shop;
mod workers;

#[test]
fn first() {
    let first: u64 = std::env::var("DELTACART_TEST_SEED").map_or(0, |seed| seed.parse().unwrap());
    let seeds: u64 = std::env::var("DELTACART_TEST_SEEDS").map_or(20, |seed| seed.parse().unwrap());
    for number in first..first + seeds {
        let outcome = seed::run(number, None);
        if let Some(failure) = outcome.failure {
            panic!("seed {number}: {failure:#}");
        }
    }
}
