//! The flags of answers: how carts, users and questions are answered. `run` and `evaluate` have the same.
//!
//! Every value is checked while it is parsed, so [`AnswerArgs::params`] cannot fail.

use super::Time;
use super::values::{number, one_of, whole};
use clap::Args;
use deltacart_dataflows::{AnswerParams, Blend, Combine, Exclude, Way};
use std::num::{NonZeroU64, NonZeroUsize};

/// Flags of answers, but for the way of answering itself.
#[derive(Clone, Debug, Args)]
pub struct AnswerArgs {
    /// How many items of a cart or a user count at most, those touched last: from 1 to 64
    #[arg(long, default_value_t = 15, value_name = "ITEMS", value_parser = answer_items, help_heading = "Answers")]
    pub answer_items: usize,
    /// The weight of an item, compared with the one that was touched next: above 0, at most 1. 1 suits orders without
    /// an order of their lines
    #[arg(long, default_value_t = 0.9, value_name = "SHARE", value_parser = share, help_heading = "Answers")]
    pub position_decay: f64,
    /// How the lists of a cart's items are put together: the sum of the scores of an item, or the largest
    #[arg(
        long,
        default_value = "sum",
        value_name = "RULE",
        value_parser = one_of::<Combine>(["sum", "max"]),
        help_heading = "Answers"
    )]
    pub combine: Combine,
    /// How many baskets of each item are considered, those touched last
    #[arg(long, default_value = "1000", value_name = "BASKETS", value_parser = whole::<NonZeroUsize>, help_heading = "Answers")]
    pub recent: NonZeroUsize,
    /// How many of the most similar baskets an answer is made of
    #[arg(long, default_value = "100", value_name = "BASKETS", value_parser = whole::<NonZeroUsize>, help_heading = "Answers")]
    pub neighbours: NonZeroUsize,
    /// The weight of a basket, compared with one whose most recent shared item was touched next: above 0, at most 1
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = share, help_heading = "Answers")]
    pub match_decay: f64,
    /// How much more a rare item counts that a basket shares with the cart, from 0, as any other, to 4. 2 suits orders
    #[arg(long, default_value_t = 0.0, value_name = "POWER", value_parser = match_idf, help_heading = "Answers")]
    pub match_idf: f64,
    /// How much rare items are preferred in answers by baskets; 0 is not at all
    #[arg(long, default_value_t = 0.3, value_name = "WEIGHT", value_parser = weight, help_heading = "Answers")]
    pub idf: f64,
    /// How many lines of a user's most recent baskets count as what the user had before
    #[arg(long, default_value = "5000", value_name = "LINES", value_parser = whole::<NonZeroUsize>, help_heading = "Answers")]
    pub own_lines: NonZeroUsize,
    /// Time after which a basket of the user counts half, such as 90d [default: all count alike]
    #[arg(long, value_name = "TIME", value_parser = half_life, help_heading = "Answers")]
    pub own_half_life: Option<NonZeroU64>,
    /// The weights of the ways in answers by blend; a way of weight 0 is not asked
    #[arg(
        long,
        default_value = "lists=0,baskets=1,own=1",
        value_name = "WAY=WEIGHT,…",
        value_parser = blend,
        help_heading = "Answers"
    )]
    pub blend: Blend,
}

impl AnswerArgs {
    /// The settings of answers by `way`, without those items that `exclude` says. A blend gets the weights of
    /// `--blend`.
    pub fn params(&self, way: Way, exclude: Exclude) -> AnswerParams {
        let by = match way {
            Way::Blend(_) => Way::Blend(self.blend),
            way => way,
        };
        AnswerParams {
            by,
            items: self.answer_items,
            position_decay: self.position_decay,
            combine: self.combine,
            recent: self.recent.get(),
            neighbours: self.neighbours.get(),
            match_decay: self.match_decay,
            match_idf: self.match_idf,
            idf: self.idf,
            own_lines: self.own_lines.get(),
            own_half_life: self.own_half_life,
            exclude,
            ..AnswerParams::default()
        }
    }
}

/// Parses a number of items that fits into the mask of an answer.
fn answer_items(text: &str) -> Result<usize, String> {
    let items = whole::<usize>(text)?;
    match (1..=AnswerParams::ITEMS_MAX).contains(&items) {
        true => Ok(items),
        false => Err(format!("want a number from 1 to {}", AnswerParams::ITEMS_MAX)),
    }
}

/// Parses how much rare items count that are shared.
fn match_idf(text: &str) -> Result<f64, String> {
    let (power, max) = (number(text)?, AnswerParams::MATCH_IDF_MAX);
    if (0.0..=max).contains(&power) { Ok(power) } else { Err(format!("want a number from 0 to {max}")) }
}

/// Parses a number above 0 that is at most 1.
fn share(text: &str) -> Result<f64, String> {
    let share = number(text)?;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("want a number above 0, at most 1".to_owned()) }
}

/// Parses a number that is at least 0.
fn weight(text: &str) -> Result<f64, String> {
    let weight = number(text)?;
    if weight >= 0.0 && weight.is_finite() { Ok(weight) } else { Err("want a number, at least 0".to_owned()) }
}

/// Parses a time as milliseconds. Days and weeks are known, too, as 24 and 168 hours.
pub(super) fn half_life(text: &str) -> Result<NonZeroU64, String> {
    let wrong = || "want a time such as 12h, 14d or 4w".to_owned();
    let hours = [("d", 24), ("w", 168)].into_iter().find_map(|(unit, hours)| {
        let number = text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?;
        number.checked_mul(hours * 3_600_000)
    });
    let millis = match hours {
        Some(millis) => millis,
        None => {
            let Time(time) = text.parse::<Time>().map_err(|_| wrong())?;
            u64::try_from(time.as_millis()).map_err(|_| wrong())?
        }
    };
    NonZeroU64::new(millis).ok_or_else(wrong)
}

/// Parses the weights of a blend: `lists=0,baskets=1,own=0.5`. A way that is not named has weight 0.
pub(super) fn blend(text: &str) -> Result<Blend, String> {
    let mut blend = Blend { lists: 0.0, baskets: 0.0, own: 0.0 };
    for part in text.split(',') {
        let (way, value) =
            part.split_once('=').ok_or_else(|| format!("{part:?} is no weight: want WAY=WEIGHT"))?;
        let place = match way {
            "lists" => &mut blend.lists,
            "baskets" => &mut blend.baskets,
            "own" => &mut blend.own,
            _ => return Err(format!("unknown way {way:?}; known are lists, baskets, own")),
        };
        *place = weight(value).map_err(|error| format!("{way}: {error}"))?;
    }
    if blend.lists + blend.baskets + blend.own > 0.0 {
        Ok(blend)
    } else {
        Err("one way at least needs a weight above 0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parse(words: &[&str]) -> Result<AnswerArgs, String> {
        let command = AnswerArgs::augment_args(Command::new("deltacart"));
        let matches = command
            .try_get_matches_from(["deltacart"].iter().chain(words))
            .map_err(|error| error.to_string())?;
        AnswerArgs::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_dataflow() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.params(Way::Baskets, Exclude::Cart), AnswerParams::default());
        let blended = args.params(Way::Blend(Blend { lists: 9.0, baskets: 9.0, own: 9.0 }), Exclude::Cart);
        assert_eq!(blended.by, Way::Blend(Blend::default()));
    }

    #[test]
    fn every_flag_is_a_setting() {
        let words = "--answer-items 7 --position-decay 1 --combine max --recent 50 --neighbours 5 --match-decay 0.5 \
                     --match-idf 2 --idf 0 --own-lines 9 --own-half-life 14d --blend own=2,lists=0.5";
        let args = parse(&words.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>()).unwrap();
        let expected = AnswerParams {
            by: Way::Blend(Blend { lists: 0.5, baskets: 0.0, own: 2.0 }),
            items: 7,
            position_decay: 1.0,
            combine: Combine::Max,
            recent: 50,
            neighbours: 5,
            match_decay: 0.5,
            match_idf: 2.0,
            idf: 0.0,
            own_lines: 9,
            own_half_life: NonZeroU64::new(14 * 86_400_000),
            exclude: Exclude::None,
            ..AnswerParams::default()
        };
        assert_eq!(args.params(Way::Blend(Blend::default()), Exclude::None), expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (words, says) in [
            (["--answer-items", "0"], "from 1 to 64"),
            (["--answer-items", "65"], "from 1 to 64"),
            (["--position-decay", "0"], "above 0, at most 1"),
            (["--match-decay", "1.5"], "above 0, at most 1"),
            (["--position-decay", "NaN"], "above 0, at most 1"),
            (["--idf", "inf"], "at least 0"),
            (["--match-idf", "4.1"], "from 0 to 4"),
            (["--match-idf", "NaN"], "from 0 to 4"),
            (["--recent", "0"], "at least 1"),
            (["--own-half-life", "0d"], "such as 12h, 14d or 4w"),
            (["--own-half-life", "99999999999999999d"], "such as 12h, 14d or 4w"),
            (["--blend", "own"], "is no weight"),
            (["--blend", "model=1"], "unknown way"),
            (["--blend", "own=0,lists=0"], "weight above 0"),
            (["--blend", "own=-1"], "at least 0"),
        ] {
            let error = parse(&words).unwrap_err();
            assert!(error.contains(says), "{words:?}: {error}");
        }
    }

    #[test]
    fn half_lives_have_units() {
        let millis = |text| half_life(text).map(NonZeroU64::get);
        assert_eq!(millis("12h"), Ok(43_200_000));
        assert_eq!(millis("14d"), Ok(1_209_600_000));
        assert_eq!(millis("2w"), Ok(1_209_600_000));
        assert_eq!(millis("1500ms"), Ok(1500));
    }
}
