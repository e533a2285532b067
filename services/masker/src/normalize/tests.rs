//! Normalisations together: what holds for each of them, and the tables of the standards.

use std::borrow::Cow;

use proptest::prelude::*;
use veilpost_proto::v1::Reason;

use super::Step;
use crate::fault::Fault;

fn of(step: Step, text: &str) -> Result<String, Fault> {
    step.apply(Cow::Borrowed(text)).map(Cow::into_owned)
}

/// The examples of <https://www.unicode.org/reports/tr15/>, figures 3 to 6, in Form C.
#[test]
fn nfc_is_that_of_uax_15() {
    for (text, normal) in [
        ("\u{212b}", "\u{c5}"),
        ("\u{2126}", "\u{3a9}"),
        ("\u{c5}", "\u{c5}"),
        ("\u{f4}", "\u{f4}"),
        ("A\u{30a}", "\u{c5}"),
        ("o\u{302}", "\u{f4}"),
        ("s\u{323}\u{307}", "\u{1e69}"),
        ("\u{1e0b}\u{323}", "\u{1e0d}\u{307}"),
        ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ("\u{fb01}", "\u{fb01}"),
        ("2\u{2075}", "2\u{2075}"),
        ("\u{1e9b}\u{323}", "\u{1e9b}\u{323}"),
        ("\u{1100}\u{1161}\u{11a8}", "\u{ac01}"),
    ] {
        assert_eq!(of(Step::Nfc, text).as_deref(), Ok(normal), "{text:?}");
    }
}

#[test]
fn lower_case_is_the_full_mapping_of_unicode() {
    for (text, lower) in [
        ("Ann@EXAMPLE.org", "ann@example.org"),
        ("ΌΔΟΣ", "όδος"),
        ("İ", "i\u{307}"),
        ("ẞ", "ß"),
        ("Ǆ", "ǆ"),
        ("ß", "ß"),
    ] {
        assert_eq!(of(Step::Lowercase, text).as_deref(), Ok(lower), "{text}");
    }
}

#[test]
fn every_white_space_of_unicode_is_trimmed_and_nothing_else() {
    let spaces =
        "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
    assert_eq!(of(Step::Trim, &format!("{spaces}a {spaces}b{spaces}")), Ok(format!("a {spaces}b")));
    assert_eq!(of(Step::Trim, "\u{200b}a\u{feff}"), Ok("\u{200b}a\u{feff}".to_owned()), "no White_Space");
}

#[test]
fn a_fault_names_its_step_and_no_value() {
    let refused = of(Step::Ip, "mark-7731").unwrap_err();
    assert_eq!(
        (refused.reason, refused.rule, refused.step),
        (Reason::InvalidValue, "not an IP address", Some("ip"))
    );
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \u{a0}]{0,2}[A-Za-zÀ-ÿΑ-ω\u{300}-\u{30f}İΣ]{0,8}[ \u{3000}]{0,2}",
        "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
        "(::)?[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){0,7}(::)?",
        "[A-Za-z.]{1,6}@[A-Za-zäöüß日本-]{1,6}(\\.[A-Za-z]{2,3}){0,2}",
        "[+0-9 ()-]{0,16}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_normal_stays_as_it_is(text in text()) {
        for step in Step::ALL {
            if let Ok(normal) = of(step, &text) {
                prop_assert_eq!(of(step, &normal), Ok(normal.clone()), "{:?}", step);
                prop_assert_eq!(step.apply(Cow::Owned(text.clone())).unwrap(), normal, "borrowed or owned: {:?}", step);
            }
        }
    }
}
