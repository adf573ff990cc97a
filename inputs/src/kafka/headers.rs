//! A message's headers, borrowed.
//!
//! # Notes
//! rdkafka's own accessor panics on a header whose name is not UTF-8, and anyone who may write to the topic can send
//! one. So names are read here as bytes, through the same function of librdkafka, with `unsafe`.

use crate::Headers;
use rdkafka::bindings;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::CStr;
use std::ptr;

/// The name that stands for one that is not UTF-8.
const UNREADABLE_NAME: &str = "\u{fffd}";
/// With up to this many headers nothing is allocated: more than tracing and CloudEvents use together.
const FEW: usize = 16;

type Header<'a> = (&'a str, Option<&'a [u8]>);

/// Calls `use_headers` with the headers of `message`, in their order.
pub(super) fn with_headers(message: &BorrowedMessage<'_>, use_headers: impl FnOnce(Headers<'_>)) {
    let mut few: [Header<'_>; FEW] = [("", None); FEW];
    let mut count = 0;
    let mut many = Vec::new();
    while let Some(header) = header(message, many.len() + count) {
        if many.is_empty() && count < FEW {
            few[count] = header;
            count += 1;
        } else {
            many.extend(few[..count].iter().copied());
            count = 0;
            many.push(header);
        }
    }
    use_headers(if many.is_empty() { &few[..count] } else { &many });
}

/// The header at `index`; `None` after the last one.
#[allow(unsafe_code)]
fn header<'a>(message: &'a BorrowedMessage<'_>, index: usize) -> Option<Header<'a>> {
    let mut headers = ptr::null_mut();
    let (mut name, mut value, mut value_length) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the message is alive as long as `'a`; it owns its headers, which nobody changes; and when librdkafka
    // reports no error it has set the name to a string that ends with NUL, and the value to null or to as many bytes
    // as it says, both inside the headers. rdkafka's `BorrowedHeaders::try_get` makes the same calls.
    unsafe {
        let error = bindings::rd_kafka_message_headers(message.ptr(), &mut headers);
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let error =
            bindings::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut value_length);
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let name = CStr::from_ptr(name).to_str().unwrap_or(UNREADABLE_NAME);
        let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), value_length));
        Some((name, value))
    }
}
