//! The dataflows equal the plain model after every epoch: every engine, measure, number of workers and way to cut
//! epochs.

use crate::harness::check;
use crate::shop::{churn, cut, events, fashion, lengths, settings, small_changes};
use deltacart_dataflows::{ListParams, Params};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_events(events in events(), params in settings(), workers in 1usize..=4, lengths in lengths()) {
        check(&cut(&events, &lengths), params, workers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    /// With a small k most of a row of 60 is left out of its reserve.
    #[test]
    fn small_changes_to_a_history(epochs in small_changes(), params in settings(), workers in 1usize..=4) {
        let lists = ListParams { k: params.lists.k.min(6), ..params.lists };
        check(&epochs, Params { lists, ..params }, workers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// The smallest reserves there are, in rows twice as long.
    #[test]
    fn everything_comes_and_goes(seed in any::<u64>(), params in settings(), workers in 1usize..=3) {
        let lists = ListParams { k: params.lists.k.min(2), ..params.lists };
        check(&churn(seed), Params { lists, ..params }, workers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Rows that are shared by all workers, and are their owner's alone before and after.
    #[test]
    fn fashions(seed in any::<u64>(), params in settings(), workers in 2usize..=4) {
        check(&fashion(seed), params, workers);
    }
}
