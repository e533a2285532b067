//! The producer's own trace context, as a message carries it.

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use veilpost_proto::v1::TraceContext;

use crate::attributes::{self, Attributes};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Whether an attribute carries the trace context.
pub(crate) fn is_attribute(name: &str) -> bool {
    matches!(name, TRACEPARENT | TRACESTATE)
}

/// The trace context in the `traceparent` message attribute, else the one in the `AWSTraceHeader` system
/// attribute. A malformed one counts as none.
pub(crate) fn producer(attributes: &Attributes, trace_header: Option<&str>) -> Option<TraceContext> {
    w3c(attributes).or_else(|| trace_header.and_then(x_ray))
}

/// Parses the context and formats it again. Fields that a later version of the format may add do not travel
/// along.
fn w3c(attributes: &Attributes) -> Option<TraceContext> {
    let received = attributes::text(attributes, TRACEPARENT)?;
    let propagator = TraceContextPropagator::new();
    let context = propagator.extract_with_context(&Context::new(), &W3cAttributes(attributes));
    let mut written = HashMap::new();
    propagator.inject_context(&context, &mut written);
    let traceparent = written.remove(TRACEPARENT)?;
    // The library also reads ids that are too short.
    let same_ids = received.get(IDS)? == traceparent.get(IDS)?;
    let tracestate = written.remove(TRACESTATE).unwrap_or_default();
    same_ids.then_some(TraceContext { traceparent, tracestate })
}

/// Where a `traceparent` has its ids: behind the version, before the flags.
const IDS: std::ops::Range<usize> = 2..53;

/// The message attributes that carry a W3C trace context.
struct W3cAttributes<'a>(&'a Attributes);

impl Extractor for W3cAttributes<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        attributes::text(self.0, key).filter(|text| key != TRACESTATE || is_tracestate(text))
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

/// Whether every implementation passes it on, by <https://www.w3.org/TR/trace-context/#tracestate-limits>. A
/// longer one would only take room in the batch from others. The library checks neither length nor
/// characters.
fn is_tracestate(text: &str) -> bool {
    text.len() <= 512 && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, after
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
fn x_ray(header: &str) -> Option<TraceContext> {
    let field =
        |name: &str| header.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let (seconds, unique) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let trace = format!("{seconds}{unique}");
    let parent = field("Parent")?;
    let is_valid = seconds.len() == 8 && is_id(&trace, 32) && is_id(parent, 16);
    let flags = if field("Sampled") == Some("1") { "01" } else { "00" };
    is_valid.then(|| TraceContext {
        traceparent: format!("00-{trace}-{parent}-{flags}"),
        tracestate: String::new(),
    })
}

/// Whether the text is a number of `digits` lower-case hexadecimal digits, not all of them zero.
fn is_id(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::types::MessageAttributeValue;
    use proptest::prelude::*;

    const PRODUCER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        let value = |text: &str| {
            MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap()
        };
        pairs.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
    }

    fn traceparent(pairs: &[(&str, &str)], header: Option<&str>) -> Option<String> {
        producer(&attributes(pairs), header).map(|context| context.traceparent)
    }

    #[test]
    fn the_w3c_attributes_are_passed_on() {
        let context =
            producer(&attributes(&[("traceparent", PRODUCER), ("tracestate", "a=b")]), None).unwrap();
        assert_eq!((context.traceparent.as_str(), context.tracestate.as_str()), (PRODUCER, "a=b"));
    }

    #[test]
    fn an_x_ray_header_becomes_a_traceparent() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let expected = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
        assert_eq!(traceparent(&[], Some(header)).as_deref(), Some(expected));
        let unsampled = "Self=1-x; Parent=53995c3f42cd8ad8; Root=1-5759e988-bd862e3fe1be46a994272793";
        assert!(traceparent(&[], Some(unsampled)).unwrap().ends_with("-00"));
    }

    #[test]
    fn the_w3c_attribute_wins_over_the_header_unless_it_is_malformed() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8";
        assert_eq!(traceparent(&[("traceparent", PRODUCER)], Some(header)).as_deref(), Some(PRODUCER));
        assert!(traceparent(&[("traceparent", "00-zz")], Some(header)).unwrap().contains("5759e988"));
    }

    #[test]
    fn malformed_contexts_are_ignored() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(traceparent(&[("traceparent", text)], None), None, "{text}");
        }
        for header in [
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e98-8bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
        ] {
            assert_eq!(traceparent(&[], Some(header)), None, "{header}");
        }
    }

    #[test]
    fn what_later_versions_or_others_add_does_not_travel() {
        let later = PRODUCER.replacen("00", "01", 1);
        let long = format!("{later}-{}", "x".repeat(100_000));
        let found =
            producer(&attributes(&[("traceparent", &long), ("tracestate", &"a=b,".repeat(129))]), None)
                .unwrap();
        assert_eq!(found.traceparent, PRODUCER, "written as the version that is read");
        assert_eq!(found.tracestate, "");
        let personal = [("traceparent", PRODUCER), ("tracestate", "a=é")];
        assert_eq!(producer(&attributes(&personal), None).unwrap().tracestate, "");
    }

    fn is_traceparent(text: &str) -> bool {
        let fields: Vec<_> = text.split('-').collect();
        let [version, trace, span, flags] = fields.as_slice() else { return false };
        (*version, is_id(trace, 32), is_id(span, 16)) == ("00", true, true) && matches!(*flags, "00" | "01")
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic_and_what_they_give_is_well_formed(
            header in "(Root=1-[0-9a-fé]{0,9}-[0-9a-f]{0,25};?|Parent=[0-9a-f]{15,17};?|Sampled=.;|.){0,6}",
            attribute in "\\PC{0,60}",
        ) {
            for context in [x_ray(&header), w3c(&attributes(&[("traceparent", &attribute)]))].into_iter().flatten() {
                prop_assert!(is_traceparent(&context.traceparent));
            }
        }
    }
}
