//! A column, and how its type takes values.

/// A column of the target table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of the catalogue, whatever the others are")]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    /// How its values are judged; those of its elements, when it is an array.
    pub(crate) kind: ColumnKind,
    pub(crate) is_array: bool,
    /// The base type as SQL writes it, with its length: for messages.
    pub(crate) type_name: String,
    /// The base type that values are cast to. It has no length: a cast would cut, an assignment rejects.
    pub(crate) cast: String,
    /// The base type's object id and modifier; a domain counts as the type that it is based on.
    pub(crate) type_oid: u32,
    pub(crate) typmod: i32,
    /// The column's own type, which may be a domain.
    pub(crate) declared: DeclaredType,
    pub(crate) not_null: bool,
    /// Whether the table fills it when an insert does not.
    pub(crate) has_default: bool,
    /// Why no value can be stored in it; None for an ordinary column.
    pub(crate) unusable: Option<String>,
    /// Its name as SQL writes it.
    pub(crate) sql_name: String,
    /// Its collation as SQL writes it; None where its type has none.
    pub(crate) collation: Option<String>,
    /// Whether its type says which of two values is greater.
    pub(crate) is_ordered: bool,
    /// What the writer's role may do with it.
    pub(crate) rights: ColumnRights,
}

/// What a role may do with a column, apart from filling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnRights {
    pub(crate) select: bool,
    pub(crate) update: bool,
}

impl ColumnRights {
    /// Whether the role has a privilege.
    pub(crate) fn has(self, privilege: Privilege) -> bool {
        match privilege {
            Privilege::Select => self.select,
            Privilege::Update => self.update,
        }
    }
}

/// A privilege on columns that only targets with `on_conflict` need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    Select,
    Update,
}

impl Privilege {
    /// As GRANT names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Update => "UPDATE",
        }
    }
}

/// A type and its modifier, as `pg_attribute` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredType {
    pub(crate) oid: u32,
    pub(crate) typmod: i32,
}

/// The rules by which the writer judges a column's values; see `convert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
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
    Money,
    Float4,
    Float8,
    Boolean,
    DateTime(DateTimeType),
    /// A range of dates or times, or a multirange.
    DateTimeRange(DateTimeType),
    Interval,
    Uuid,
    Json,
    Jsonb,
    /// The extension's type of keys and values.
    Hstore,
    /// Any other type: only Postgres judges its values.
    Other,
}

/// What a date or a time consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateTimeType {
    Date,
    Time,
    TimeWithTimeZone,
    Timestamp,
    TimestampWithTimeZone,
}

impl DateTimeType {
    fn of(type_name: &str) -> Option<Self> {
        Some(match type_name {
            "date" => Self::Date,
            "time" => Self::Time,
            "timetz" => Self::TimeWithTimeZone,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampWithTimeZone,
            _ => return None,
        })
    }
}

/// A base type, as the catalogue names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeName<'name> {
    pub(super) name: &'name str,
    pub(super) is_built_in: bool,
    /// The built-in type of a range's bounds.
    pub(super) bound: Option<&'name str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextLimit {
    None,
    Characters(usize),
    /// For the types `name` and `"char"`, whose casts would cut.
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

    /// Unpacks a type modifier: 4 more than the precision above 16 bits and the signed scale in 11 bits.
    fn from_typmod(typmod: i32) -> Option<Self> {
        let packed = i64::from(typmod.checked_sub(4).filter(|packed| *packed >= 0)?);
        Some(Self { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 })
    }
}

impl ColumnKind {
    /// The kind of a base type by its name. Apart from citext and hstore, only types of `pg_catalog` are
    /// known by name.
    pub(super) fn of(type_name: TypeName<'_>, typmod: i32) -> Self {
        if let Some(bound) = type_name.bound.and_then(DateTimeType::of) {
            return Self::DateTimeRange(bound);
        }
        if let Some(date_time) = DateTimeType::of(type_name.name).filter(|_| type_name.is_built_in) {
            return Self::DateTime(date_time);
        }
        match (type_name.name, type_name.is_built_in) {
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
            ("money", true) => Self::Money,
            ("interval", true) => Self::Interval,
            ("uuid", true) => Self::Uuid,
            ("json", true) => Self::Json,
            ("jsonb", true) => Self::Jsonb,
            ("hstore", false) => Self::Hstore,
            _ => Self::Other,
        }
    }
}

/// The length in `varchar(n)` and `char(n)`, whose type modifier is 4 more.
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
        let of = |name, is_built_in, bound| ColumnKind::of(TypeName { name, is_built_in, bound }, -1);
        assert_eq!(of("int4", false, None), ColumnKind::Other);
        assert_eq!(of("date", false, None), ColumnKind::Other);
        assert_eq!(of("date", true, None), ColumnKind::DateTime(DateTimeType::Date));
        assert_eq!(of("shifts", false, Some("time")), ColumnKind::DateTimeRange(DateTimeType::Time));
        assert_eq!(of("int4range", true, Some("int4")), ColumnKind::Other);
    }
}
