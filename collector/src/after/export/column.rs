//! The columns of a Parquet file: values of one field, row by row.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use netobserv_wire::FIELDS;
use netobserv_wire::field::Kind;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type, TypePtr};
use rusqlite::types::ValueRef;

/// Different texts of a column that are kept once; more are let go.
const MOST_TEXTS: usize = 65_536;
/// Levels of a value that is there, and of one that is not.
const THERE: i16 = 1;
const ABSENT: i16 = 0;

/// The schema: every field, in the order of the field table. Lists are JSON texts, as in the database.
///
/// # Errors
/// None in practice: the names are constants.
pub(super) fn schema() -> parquet::errors::Result<TypePtr> {
    let field = |(name, kind): (&str, Kind)| {
        let (physical, logical) = match kind {
            Kind::Int => (Physical::INT64, None),
            _ => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let builder = Type::primitive_type_builder(name, physical).with_logical_type(logical);
        builder.with_repetition(Repetition::OPTIONAL).build().map(Into::into)
    };
    let fields = FIELDS.iter().map(|one| (one.name, one.kind())).map(field).collect::<Result<_, _>>()?;
    Type::group_type_builder("flow").with_fields(fields).build().map(Into::into)
}

/// The values of a column since the last row group.
pub(super) struct Column {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Numbers(Vec<i64>),
    Texts(Vec<ByteArray>, HashMap<Box<[u8]>, ByteArray, RandomState>),
}

impl Column {
    /// Of a field of this kind.
    pub(super) fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Int => Values::Numbers(Vec::new()),
            _ => Values::Texts(Vec::new(), HashMap::default()),
        };
        Self { levels: Vec::new(), values }
    }

    /// Adds the value of a row. One of another kind than that of the field is absent.
    pub(super) fn push(&mut self, value: ValueRef<'_>) {
        let there = match (&mut self.values, value) {
            (Values::Numbers(numbers), ValueRef::Integer(number)) => {
                numbers.push(number);
                true
            }
            (Values::Texts(texts, known), ValueRef::Text(text)) => {
                texts.push(interned(known, text));
                true
            }
            _ => false,
        };
        self.levels.push(if there { THERE } else { ABSENT });
    }

    /// Writes the values and begins again.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> parquet::errors::Result<()> {
        match &mut self.values {
            Values::Numbers(numbers) => {
                writer.typed::<Int64Type>().write_batch(numbers, Some(&self.levels), None)?;
                numbers.clear();
            }
            Values::Texts(texts, known) => {
                writer.typed::<ByteArrayType>().write_batch(texts, Some(&self.levels), None)?;
                texts.clear();
                if known.len() > MOST_TEXTS {
                    known.clear();
                }
            }
        }
        self.levels.clear();
        Ok(())
    }
}

/// Names and addresses are the same in many rows.
fn interned(known: &mut HashMap<Box<[u8]>, ByteArray, RandomState>, text: &[u8]) -> ByteArray {
    if let Some(same) = known.get(text) {
        return same.clone();
    }
    let new = ByteArray::from(text.to_vec());
    known.insert(text.into(), new.clone());
    new
}
