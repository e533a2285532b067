//! A column and how its type takes values.

/// A column of the pinned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The base type that values are cast to: without length, so that assignment judges lengths.
    pub(crate) cast: String,
    /// The base type's object id and modifier, domains looked through.
    pub(crate) type_oid: u32,
    pub(crate) typmod: i32,
    pub(crate) not_null: bool,
    /// Something else fills it when an insert does not.
    pub(crate) has_default: bool,
    /// Why values cannot be stored in it at all.
    pub(crate) unusable: Option<String>,
}

/// How values are judged before Postgres sees them; see `convert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text {
        limit: TextLimit,
    },
    Integer {
        least: i64,
        greatest: i64,
    },
    Numeric {
        shape: Option<NumericShape>,
    },
    Float4,
    Float8,
    Boolean,
    Date,
    Timestamp,
    /// Times of day and intervals.
    Time,
    Uuid,
    Json,
    Jsonb,
    /// Judged by Postgres alone.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextLimit {
    None,
    Characters(usize),
    /// For the types `name` and `"char"`, whose casts cut.
    Bytes(usize),
}

/// `numeric(precision, scale)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumericShape {
    pub(crate) precision: i64,
    pub(crate) scale: i64,
}

impl NumericShape {
    /// How many digits fit before the decimal point.
    pub(crate) fn whole_digits(self) -> i64 {
        self.precision - self.scale
    }

    /// As Postgres packs them: precision above 16 bits, scale in 11 bits with sign, 4 added to the whole.
    fn from_typmod(typmod: i32) -> Option<Self> {
        let packed = i64::from(typmod.checked_sub(4).filter(|packed| *packed >= 0)?);
        Some(Self { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 })
    }
}

impl Kind {
    /// The kind of a base type by its name; only types of `pg_catalog` are known by theirs, and citext.
    pub(super) fn of(type_name: &str, built_in: bool, typmod: i32) -> Self {
        match (type_name, built_in) {
            ("text", true) | ("citext", false) => Self::Text { limit: TextLimit::None },
            ("varchar" | "bpchar", true) => Self::Text { limit: characters(typmod) },
            ("name", true) => Self::Text { limit: TextLimit::Bytes(63) },
            ("char", true) => Self::Text { limit: TextLimit::Bytes(1) },
            ("int2", true) => Self::Integer { least: i16::MIN.into(), greatest: i16::MAX.into() },
            ("int4", true) => Self::Integer { least: i32::MIN.into(), greatest: i32::MAX.into() },
            ("int8", true) => Self::Integer { least: i64::MIN, greatest: i64::MAX },
            ("numeric", true) => Self::Numeric { shape: NumericShape::from_typmod(typmod) },
            ("float4", true) => Self::Float4,
            ("float8", true) => Self::Float8,
            ("bool", true) => Self::Boolean,
            ("date", true) => Self::Date,
            ("timestamp" | "timestamptz", true) => Self::Timestamp,
            ("time" | "timetz" | "interval", true) => Self::Time,
            ("uuid", true) => Self::Uuid,
            ("json", true) => Self::Json,
            ("jsonb", true) => Self::Jsonb,
            _ => Self::Other,
        }
    }
}

/// The length in `varchar(n)` and `char(n)`; Postgres adds 4 to it.
fn characters(typmod: i32) -> TextLimit {
    match usize::try_from(typmod.saturating_sub(4)) {
        Ok(most) => TextLimit::Characters(most),
        Err(_) => TextLimit::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_modifiers_are_unpacked() {
        assert_eq!(characters(36), TextLimit::Characters(32));
        assert_eq!(characters(-1), TextLimit::None);
        let shape = |typmod| NumericShape::from_typmod(typmod);
        assert_eq!(shape(-1), None);
        // As pg_attribute.atttypmod shows them for numeric(5,2) and numeric(2,-3).
        assert_eq!(shape(327_686), Some(NumericShape { precision: 5, scale: 2 }));
        assert_eq!(shape(133_121), Some(NumericShape { precision: 2, scale: -3 }));
    }

    #[test]
    fn a_users_type_is_not_known_by_its_name() {
        assert_eq!(Kind::of("int4", false, -1), Kind::Other);
    }
}
