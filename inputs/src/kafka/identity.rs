//! Which topic it is: brokers give each an id of its own, so one that was deleted and created again is another.
//!
//! # Notes
//! rdkafka has no call for it, and librdkafka has: so there is `unsafe` here, in one function that frees what it makes.

use super::connection::Connection;
use crate::SourceError;
use rdkafka::bindings as native;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use std::ffi::{CStr, CString};
use std::ptr;
use std::time::{Duration, Instant};

/// What brokers say that are older than ids: 16 bytes of zero.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

impl Connection {
    /// The topic's id, in base 64; `None` where the brokers give none, as before Kafka 2.8.
    pub(super) fn topic_id(&self, deadline: Instant) -> Result<Option<String>, SourceError> {
        self.ask(deadline, |patience| match topic_id(self, patience) {
            Ok(id) => Ok(Some(Some(id).filter(|id| id != NO_ID))),
            Err(error) if is_too_old(&error) => Ok(Some(None)),
            Err(error) => Err(error),
        })
    }
}

fn is_too_old(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::UnsupportedFeature | Code::UnsupportedVersion))
}

/// The topic's id as a broker says it, asked once.
pub(super) fn topic_id(connection: &Connection, patience: Duration) -> KafkaResult<String> {
    let failed = |code: RDKafkaRespErr| KafkaError::MetadataFetch(code.into());
    let name =
        CString::new(connection.topic.as_str()).map_err(|_| KafkaError::MetadataFetch(Code::InvalidTopic))?;
    let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    describe(connection, &name, patience).map_err(failed)
}

#[allow(unsafe_code)]
fn describe(connection: &Connection, name: &CStr, patience: i32) -> Result<String, RDKafkaRespErr> {
    let client = connection.consumer.client().native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: the client lives as long as `connection`, and what librdkafka wants with it comes from it. Names, options
    // and the queue are freed once, after the call has copied what it needs and the only event of the queue was taken;
    // the event is freed after the id has been copied out of it. A request that has run out of time leaves its answer
    // to a queue that is gone, which librdkafka allows: it counts references.
    unsafe {
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let describe = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client, describe);
        native::rd_kafka_AdminOptions_set_request_timeout(options, patience, ptr::null_mut(), 0);
        let queue = native::rd_kafka_queue_new(client);
        native::rd_kafka_DescribeTopics(client, topics, options, queue);
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_TopicCollection_destroy(topics);
        let event = native::rd_kafka_queue_poll(queue, patience);
        native::rd_kafka_queue_destroy(queue);
        if event.is_null() {
            return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT);
        }
        let id = id_of(event);
        native::rd_kafka_event_destroy(event);
        id
    }
}

/// The id in an answer about one topic.
///
/// # Safety
/// `event` is an event of librdkafka that has not been freed.
#[allow(unsafe_code)]
unsafe fn id_of(event: *mut native::rd_kafka_event_t) -> Result<String, RDKafkaRespErr> {
    // SAFETY: the event is alive. When it has no error, it is the answer to a request for one topic: a list of as many
    // descriptions as it says, inside the event; an id's text ends with NUL and lives as long as the event.
    unsafe {
        let error = native::rd_kafka_event_error(event);
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error);
        }
        let mut count = 0;
        let answer = native::rd_kafka_event_DescribeTopics_result(event);
        if answer.is_null() {
            return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG);
        }
        let topics = native::rd_kafka_DescribeTopics_result_topics(answer, &mut count);
        if topics.is_null() || count != 1 {
            return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG);
        }
        let error = native::rd_kafka_TopicDescription_error(*topics);
        if !error.is_null()
            && native::rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return Err(native::rd_kafka_error_code(error));
        }
        let id = native::rd_kafka_TopicDescription_topic_id(*topics);
        let text = native::rd_kafka_Uuid_base64str(id);
        if text.is_null() {
            return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG);
        }
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}
