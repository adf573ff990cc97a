//! Predictions as records of a log: at which rank the answer of a cart had what came into the cart next.
//!
//! ```text
//! {"predicted":"mug","cart":"c7","rank":3,"of":10,"topic":"carts","partition":3,"offset":17,"index":0,"epoch":9,"version":1}
//! ```

use super::file::Lines;
use super::input_place::{InputOrigins, InputPlace, publisher_of};
use super::log_format::{EpochAndPlace, LogFormat};
use super::records::Records;
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::{Epoch, Name, Partition, Prediction};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

impl Lines {
    /// Predictions of what comes into carts.
    pub const PREDICTIONS: Lines = Lines { name: "predictions", beginnings: &[b"{\"predicted\":\""] };
}

/// The version of the shape of predictions.
const VERSION: u32 = 1;

/// One prediction as it is written and read back.
#[derive(Debug, Serialize, Deserialize)]
struct PredictionRecord<'a> {
    /// The item that came into the cart.
    #[serde(borrow)]
    predicted: Cow<'a, str>,
    #[serde(borrow)]
    cart: Cow<'a, str>,
    rank: Option<u32>,
    of: u32,
    #[serde(borrow, flatten)]
    place: InputPlace<'a>,
    offset: u64,
    index: u32,
    epoch: Epoch,
    version: u32,
}

/// How predictions are written: with the names of the input streams.
pub(crate) struct PredictionFormat {
    origins: InputOrigins,
}

impl PredictionFormat {
    /// The format for a job with these input streams.
    pub(crate) fn new(origins: InputOrigins) -> PredictionFormat {
        PredictionFormat { origins }
    }
}

impl LogFormat for PredictionFormat {
    type Record = Prediction;
    type Lane = Partition;
    /// The offset and the index of the cart's last event, and the item.
    type Place = (u64, u32, Name);

    /// What an answer says depends on where epochs end. So a restart would not repeat its predictions, and makes none
    /// of what it reads again.
    const REPEATS: bool = false;

    fn place(&self, Prediction { touch, item, .. }: &Prediction) -> Option<(Partition, Self::Place)> {
        Some((touch.partition, (touch.offset, touch.index, item.clone())))
    }

    fn route(partition: &Partition) -> u64 {
        publisher_of(*partition)
    }

    fn encode(&self, prediction: &Prediction, epoch: Epoch, records: &mut Records) {
        let &Prediction { touch, ref cart, ref item, rank, of } = prediction;
        let record = PredictionRecord {
            predicted: item.as_str().into(),
            cart: cart.as_str().into(),
            rank,
            of,
            place: self.origins.place(touch.partition),
            offset: touch.offset,
            index: touch.index,
            epoch,
            version: VERSION,
        };
        let value = serde_json::to_vec(&record).expect("texts and numbers are JSON");
        records.push_value(cart.as_bytes(), &value);
    }

    fn read(&self, value: &[u8]) -> Result<EpochAndPlace<Partition, Self::Place>> {
        let record: PredictionRecord<'_> = serde_json::from_slice(value).context("not a prediction")?;
        let version = record.version;
        ensure!(
            version == VERSION,
            "a prediction of version {version}; this program reads version {VERSION}"
        );
        let place = (record.offset, record.index, record.predicted.as_ref().into());
        Ok((record.epoch, self.origins.partition(&record.place).map(|partition| (partition, place))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::input_place::InputOrigin;
    use super::*;
    use deltacart_dataflows::Touch;
    use proptest::prelude::*;

    fn format() -> PredictionFormat {
        let topic = InputOrigin::Topic { name: "carts".to_owned(), id: None };
        PredictionFormat::new(InputOrigins::new(vec![topic]))
    }

    fn prediction(cart: &str, item: &str, rank: Option<u32>) -> Prediction {
        let partition = Partition::new(0, 3).unwrap();
        let touch = Touch { time: 5, offset: 17, partition, index: 0 };
        Prediction { touch, cart: cart.into(), item: item.into(), rank, of: 10 }
    }

    fn encoded(prediction: &Prediction) -> (Vec<u8>, Vec<u8>) {
        let mut records = Records::new();
        format().encode(prediction, 9, &mut records);
        let record = records.front().unwrap();
        (record.key.to_vec(), record.value.unwrap().to_vec())
    }

    fn schema() -> jsonschema::Validator {
        let schema = serde_json::from_str(include_str!("../../schemas/prediction.json")).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        jsonschema::validator_for(&schema).unwrap()
    }

    /// The examples of the documentation are what the encoder writes.
    #[test]
    fn the_examples_are_written() {
        let documentation = include_str!("../../docs/output.md");
        for rank in [Some(3), None] {
            let (key, value) = encoded(&prediction("c7", "mug", rank));
            let value = String::from_utf8(value).unwrap();
            assert!(key == b"c7" && documentation.contains(&value), "{value}");
            assert!(Lines::PREDICTIONS.has_beginning_of(value.as_bytes()));
        }
    }

    proptest! {
        /// What is written matches the schema, and is read back at its place, whatever ids look like.
        #[test]
        fn a_prediction_is_read_back_at_its_place(cart in ".{1,30}", item in ".{1,30}",
            rank in prop::option::of(1u32..100)) {
            let prediction = prediction(&cart, &item, rank);
            let (_key, value) = encoded(&prediction);
            prop_assert!(schema().is_valid(&serde_json::from_slice(&value).unwrap()));
            prop_assert_eq!(format().read(&value).unwrap(), (9, format().place(&prediction)));
        }
    }

    #[test]
    fn other_records_are_refused() {
        for wrong in ["{}", r#"{"version":1,"cart":"a","epoch":7,"recommendations":[]}"#, "null", ""] {
            assert!(format().read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let (_key, value) = encoded(&prediction("c7", "mug", None));
        let good: serde_json::Value = serde_json::from_slice(&value).unwrap();
        for field in ["predicted", "cart", "rank", "of", "topic", "partition", "offset", "epoch", "version"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(field);
            assert!(!schema().is_valid(&bad), "without {field}");
        }
    }
}
