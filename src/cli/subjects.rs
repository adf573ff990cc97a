//! The flags that say who gets recommendations beside items, and where they go.

use super::values::{one_of, whole};
use super::{AnswerArgs, Period, Place, Time};
use clap::{Args, ValueEnum};
use deltacart_dataflows::{CartSample, Exclude, Way};
use std::num::{NonZeroU64, NonZeroUsize};

/// What is recommended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Recommend {
    /// Every item: the lists.
    Items,
    /// Every open cart.
    Carts,
    /// Every user who is there.
    Users,
}

/// Flags of `run` about carts and users.
#[derive(Clone, Debug, Args)]
pub struct SubjectArgs {
    /// What recommendations are published for: items (the lists of --output), open carts (--output-carts), users
    /// (--output-users). docs/answers.md explains carts and users
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "items",
        value_name = "WHAT,…",
        help_heading = "Answers"
    )]
    pub recommend: Vec<Recommend>,
    /// Where the answers of open carts go: kafka:TOPIC, a file, or -
    #[arg(long, value_name = "DST", help_heading = "Answers")]
    pub output_carts: Option<Place>,
    /// Where the answers of users go: kafka:TOPIC, a file, or -
    #[arg(long, value_name = "DST", help_heading = "Answers")]
    pub output_users: Option<Place>,
    /// How often a changed answer of a cart leaves the job at most, such as 1s. 0: at every epoch
    #[arg(long, default_value = "0", value_name = "TIME", help_heading = "Answers")]
    pub carts_every: Period,
    /// How often a changed answer of a user leaves the job at most. 0: at every epoch
    #[arg(long, default_value = "0", value_name = "TIME", help_heading = "Answers")]
    pub users_every: Period,
    /// How carts and users are answered: by the lists of their items, by baskets that share items with them, by what
    /// their user had before, or by a blend of those (--blend)
    #[arg(
        long,
        default_value = "baskets",
        value_name = "WAY",
        value_parser = one_of::<Way>(["lists", "baskets", "own", "blend"]),
        help_heading = "Answers"
    )]
    pub answer_by: Way,
    /// What is kept out of an answer: all that is in the cart, the item that was touched last, or nothing
    #[arg(
        long,
        default_value = "cart",
        value_name = "WHAT",
        value_parser = one_of::<Exclude>(["cart", "last", "none"]),
        help_heading = "Answers"
    )]
    pub exclude: Exclude,
    /// The most recommendations for a cart
    #[arg(long, default_value = "10", value_name = "ITEMS", value_parser = whole::<NonZeroUsize>, help_heading = "Answers")]
    pub k_carts: NonZeroUsize,
    /// The most recommendations for a user
    #[arg(long, default_value = "10", value_name = "ITEMS", value_parser = whole::<NonZeroUsize>, help_heading = "Answers")]
    pub k_users: NonZeroUsize,
    /// How long a cart or a user stays open after the last event, by the times of its partition's events
    #[arg(long, default_value = "30m", value_name = "TIME", help_heading = "Answers")]
    pub open_for: Time,
    /// After how much time, by the times of events, open carts and users are answered again though they did not change;
    /// 0 is at every epoch
    #[arg(long, default_value = "30s", value_name = "TIME", help_heading = "Answers")]
    pub refresh: Period,
    /// The most carts, and the most users, that one worker answers again in one refresh. Those that waited longest come
    /// first
    #[arg(long, default_value = "1000", value_name = "SUBJECTS", value_parser = whole::<NonZeroUsize>, help_heading = "Answers")]
    pub refresh_max: NonZeroUsize,
    /// Which share of the carts is followed to see how good answers are: whether what comes into a cart was in the
    /// answer that the cart had. Such as 0.1, or 1 for all [default: none]
    #[arg(long, value_name = "SHARE", value_parser = sample, help_heading = "Answers")]
    pub prequential: Option<CartSample>,
    /// Where each item that came into such a cart is written, with its rank: kafka:TOPIC, a file, or -. Without it
    /// they are counted
    #[arg(long, value_name = "DST", help_heading = "Answers")]
    pub predictions: Option<Place>,
    /// How they are answered.
    #[command(flatten)]
    pub answers: AnswerArgs,
}

impl SubjectArgs {
    /// Whether recommendations are published for this.
    pub fn wants(&self, what: Recommend) -> bool {
        self.recommend.contains(&what)
    }

    /// After how many milliseconds of event time open subjects are answered again. `None` is at every epoch.
    pub fn refresh_millis(&self) -> Option<NonZeroU64> {
        self.refresh.0.and_then(|every| NonZeroU64::new(u64::try_from(every.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A share of carts.
fn sample(text: &str) -> Result<CartSample, String> {
    let share = text.parse().ok().and_then(CartSample::new);
    share.ok_or_else(|| "a share is above 0 and at most 1, such as 0.1".to_owned())
}
