//! The names of requests (`request-id`, `trace-context`): taken from a front end that may give them, or made here.
//!
//! Here: which name a request has, and how new ones are made. Not here: what a name may look like (`wire::trace`). A
//! worker without these options has none of this, and asks once for each request whether it is there.
//!
//! New names are 128 bits of a keyed hash (SipHash, as the standard library has it) of a counter; the key comes from the
//! kernel, for each worker after its fork, so that no two workers make the same names and nobody can guess the next one.

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};

use wire::trace;

use crate::exchange::{Exchange, Parsed};
use crate::log_format::Variable;
use crate::plan::EnginePlan;
use crate::sys;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub struct RequestIds {
    names: bool,
    traces: bool,
    key: [u8; 32],
    count: AtomicU64,
    request_id: Variable,
    traceparent: Variable,
    tracestate: Variable,
}

impl RequestIds {
    /// None where requests get no names.
    pub fn new(plan: &EnginePlan) -> Option<RequestIds> {
        (plan.request_ids || plan.trace_context).then(|| RequestIds {
            names: plan.request_ids,
            traces: plan.trace_context,
            key: sys::random_key(),
            count: AtomicU64::new(0),
            request_id: Variable::new("HTTP_X_REQUEST_ID"),
            traceparent: Variable::new("HTTP_TRACEPARENT"),
            tracestate: Variable::new("HTTP_TRACESTATE"),
        })
    }

    /// Gives a request its names. What it brought stays as it is where it may have, and can be, one.
    pub fn name(&self, exchange: &mut Exchange) {
        let mut made = None;
        if self.traces && given(exchange, &self.traceparent).and_then(trace::trace_id).is_none() {
            let (trace, parent) = (self.make(), self.make());
            // The list of vendors belongs to the trace that it came with (Trace Context, 3.3).
            if exchange.variable(&self.tracestate).is_some() {
                exchange.set_variable(&self.tracestate.name, Vec::new());
            }
            // Sampled: nobody before this server has decided, and what is not sampled here is recorded by nobody.
            let text = [b"00-", &trace[..], b"-", &parent[..16], b"-01"].concat();
            exchange.set_variable(&self.traceparent.name, text);
            made = Some(trace);
        }
        if self.names && !given(exchange, &self.request_id).is_some_and(trace::is_request_id) {
            let name = made.unwrap_or_else(|| self.make());
            exchange.set_variable(&self.request_id.name, name.to_vec());
        }
    }

    /// The id of a request for a line of the server's log; empty if it has none.
    pub fn in_words(&self, exchange: &Exchange) -> String {
        let id = exchange.variable(&self.request_id).filter(|_| self.names);
        id.map_or_else(String::new, |id| format!(" (request id {})", id.escape_ascii()))
    }

    /// 32 hex digits; neither half is zero but once in 2^64 names.
    fn make(&self) -> [u8; 32] {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 32];
        for (half, digits) in text.chunks_exact_mut(16).enumerate() {
            #[expect(deprecated, reason = "the one hasher of the standard library whose output is fixed by its input")]
            let mut hasher = std::hash::SipHasher::new();
            hasher.write(&self.key);
            hasher.write_u64(number);
            hasher.write_u8(half as u8);
            let bits = hasher.finish().max(1);
            for (place, digit) in digits.iter_mut().enumerate() {
                *digit = HEX[(bits >> (60 - 4 * place)) as usize & 15];
            }
        }
        text
    }
}

/// What a peer that may give names has said, if it has said it once.
fn given<'a>(exchange: &'a Exchange, variable: &Variable) -> Option<&'a [u8]> {
    if !exchange.trusted {
        return None;
    }
    if let (Parsed::Http(head), Some(name)) = (&exchange.parsed, &variable.header) {
        let is_it = |header: &&wire::http1::Header| header.name.of(&exchange.bytes).eq_ignore_ascii_case(name);
        if head.headers.iter().filter(is_it).count() > 1 {
            return None;
        }
    }
    exchange.variable(variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids(key: [u8; 32]) -> RequestIds {
        let variable = Variable::new;
        RequestIds {
            names: true,
            traces: true,
            key,
            count: AtomicU64::new(0),
            request_id: variable("HTTP_X_REQUEST_ID"),
            traceparent: variable("HTTP_TRACEPARENT"),
            tracestate: variable("HTTP_TRACESTATE"),
        }
    }

    #[test]
    fn names_are_hex_and_all_different() {
        let (one, other) = (ids([1; 32]), ids([2; 32]));
        let mut seen = HashSet::new();
        for _ in 0..20_000 {
            for name in [one.make(), other.make()] {
                assert!(name.iter().all(|digit| HEX.contains(digit)));
                assert!(seen.insert(name));
            }
        }
        let digits = seen.iter().flatten().filter(|digit| **digit == b'7').count();
        assert!((75_000..85_000).contains(&digits), "a sixteenth of all digits, not {digits}");
    }

    #[test]
    fn keys_are_different() {
        assert_ne!(sys::random_key(), sys::random_key());
    }
}
