//! The producer's own trace context, from what a message carries.

use veilpost_proto::v1::TraceContext;

use crate::delivery::Attributes;

/// Version, trace, span and flags.
const TRACEPARENT_BYTES: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// The context in the `traceparent` message attribute, else the one in the `AWSTraceHeader` system attribute.
/// A malformed one counts as none.
pub(crate) fn context(attributes: &Attributes, trace_header: Option<&str>) -> Option<TraceContext> {
    w3c(attributes).or_else(|| trace_header.and_then(x_ray))
}

fn w3c(attributes: &Attributes) -> Option<TraceContext> {
    let text = |name: &str| attributes.get(name).and_then(|value| value.string_value.as_deref());
    let traceparent = text("traceparent").filter(|text| is_traceparent(text))?;
    // What later versions add behind it nobody here reads.
    let traceparent = traceparent.get(..TRACEPARENT_BYTES)?;
    let tracestate = text("tracestate").filter(|text| is_tracestate(text)).unwrap_or_default();
    Some(TraceContext { traceparent: traceparent.to_owned(), tracestate: tracestate.to_owned() })
}

/// What every implementation passes on, after <https://www.w3.org/TR/trace-context/#tracestate-limits>; more would only take
/// room in the batch from others.
fn is_tracestate(text: &str) -> bool {
    text.len() <= 512 && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// <https://www.w3.org/TR/trace-context/#traceparent-header>; later versions may have further fields.
fn is_traceparent(text: &str) -> bool {
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (fields.next(), fields.next(), fields.next(), fields.next());
    let further = fields.next().is_some();
    version.is_some_and(|version| is_hex(version, 2) && version != "ff" && !(version == "00" && further))
        && trace.is_some_and(|trace| is_id(trace, 32))
        && span.is_some_and(|span| is_id(span, 16))
        && flags.is_some_and(|flags| is_hex(flags, 2))
}

/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, after
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>.
fn x_ray(header: &str) -> Option<TraceContext> {
    let field =
        |name: &str| header.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let (seconds, unique) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let trace = format!("{seconds}{unique}");
    let parent = field("Parent")?;
    let sound = seconds.len() == 8 && is_id(&trace, 32) && is_id(parent, 16);
    let flags = if field("Sampled") == Some("1") { "01" } else { "00" };
    sound.then(|| TraceContext {
        traceparent: format!("00-{trace}-{parent}-{flags}"),
        tracestate: String::new(),
    })
}

fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::types::MessageAttributeValue;
    use proptest::prelude::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        let value = |text: &str| {
            MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap()
        };
        pairs.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
    }

    fn traceparent(pairs: &[(&str, &str)], header: Option<&str>) -> Option<String> {
        context(&attributes(pairs), header).map(|context| context.traceparent)
    }

    #[test]
    fn the_w3c_attributes_are_passed_on() {
        let context =
            context(&attributes(&[("traceparent", TRACEPARENT), ("tracestate", "a=b")]), None).unwrap();
        assert_eq!((context.traceparent.as_str(), context.tracestate.as_str()), (TRACEPARENT, "a=b"));
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
        assert_eq!(traceparent(&[("traceparent", TRACEPARENT)], Some(header)).as_deref(), Some(TRACEPARENT));
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
    fn what_others_add_does_not_travel() {
        let later = TRACEPARENT.replacen("00", "01", 1);
        let long = format!("{later}-{}", "x".repeat(100_000));
        let found =
            context(&attributes(&[("traceparent", &long), ("tracestate", &"a=b,".repeat(129))]), None)
                .unwrap();
        assert_eq!(found.traceparent, later);
        assert_eq!(found.tracestate, "");
        let personal = [("traceparent", TRACEPARENT), ("tracestate", "a=é")];
        assert_eq!(context(&attributes(&personal), None).unwrap().tracestate, "");
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
