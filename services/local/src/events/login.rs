//! A login as the apps report it.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use serde::Serialize;

const DEVICE_TYPES: [&str; 5] = ["android", "ios", "android", "ios", "web"];
const LOCALES: [&str; 8] = ["RU", "US", "DE", "BR", "JP", "IN", "FR", "NG"];

/// The fields of a normal event, in the order in which they are written.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Login {
    pub(super) user_id: String,
    app_version: String,
    pub(super) device_type: &'static str,
    pub(super) ip: String,
    pub(super) locale: &'static str,
    device_id: String,
}

impl Login {
    pub(super) fn random(random: &mut Xoshiro256PlusPlus) -> Self {
        Self {
            user_id: uuid_like(random.random()),
            app_version: version(random),
            device_type: pick(random, &DEVICE_TYPES),
            ip: address(random),
            locale: pick(random, &LOCALES),
            device_id: device(random),
        }
    }

    pub(super) fn take_device_of(&mut self, other: &Self) {
        self.ip.clone_from(&other.ip);
        self.device_id.clone_from(&other.device_id);
    }

    /// The body of a normal event.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a login is plain text fields")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a login is plain text fields")
    }
}

fn uuid_like(bits: u128) -> String {
    let group =
        |from_top: u32, digits: u32| (bits >> (128 - 4 * (from_top + digits))) & ((1 << (4 * digits)) - 1);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        group(0, 8),
        group(8, 4),
        group(13, 3),
        group(17, 3),
        group(20, 12)
    )
}

fn version(random: &mut Xoshiro256PlusPlus) -> String {
    format!("{}.{}.{}", random.random_range(1..=23), random.random_range(0..=9), random.random_range(0..=9))
}

fn address(random: &mut Xoshiro256PlusPlus) -> String {
    let mut octet = || random.random_range(1..=254);
    format!("199.{}.{}.{}", octet(), octet(), octet())
}

fn device(random: &mut Xoshiro256PlusPlus) -> String {
    let (first, second) = (random.random_range(100..=999), random.random_range(10..=99));
    format!("{first}-{second}-{}", random.random_range(1000..=9999))
}

fn pick(random: &mut Xoshiro256PlusPlus, choices: &[&'static str]) -> &'static str {
    choices.get(random.random_range(0..choices.len())).copied().unwrap_or("web")
}
