//! Rows into table `flow_data`.
//!
//! Most rows have a third of the columns, so there is one statement for each combination of field groups that occurs:
//! SQLite then does not go over two thirds of the columns to find nothing. Within a statement, what is NULL already is left alone.

use std::collections::HashMap;

use netobserv_wire::flow::HolderRef;
use netobserv_wire::{Flow, GROUPS, Value};
use rusqlite::types::{Null, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};

use super::endpoints::Endpoints;
use super::schema::{COLUMNS, Column};

/// Statements to keep prepared. A capture has a handful of combinations.
pub(super) const STATEMENTS: usize = 64;

/// One bit for each group that a row has, and [`OTHER`].
type Shape = u32;

/// The bit of column `Other`.
const OTHER: Shape = 1 << 31;

/// The statements, and the holders that rows refer to.
#[derive(Default)]
pub(super) struct Inserts {
    sql: HashMap<Shape, String>,
    scratch: Vec<u8>,
    endpoints: Endpoints,
}

impl Inserts {
    /// Inserts `rows`; returns how many were, also when one was not.
    pub(super) fn run(&mut self, db: &Connection, rows: &[Flow]) -> (u64, rusqlite::Result<()>) {
        let mut open = Vec::new();
        for (inserted, flow) in rows.iter().enumerate() {
            if let Err(error) = self.insert(db, &mut open, flow) {
                return (inserted as u64, Err(error));
            }
        }
        (rows.len() as u64, Ok(()))
    }

    /// The numbers of holders.
    pub(super) fn endpoints(&mut self) -> &mut Endpoints {
        &mut self.endpoints
    }

    fn insert<'db>(&mut self, db: &'db Connection, open: &mut Vec<Insert<'db>>, flow: &Flow) -> rusqlite::Result<()> {
        let shape = shape(flow);
        let insert = match open.iter().position(|insert| insert.shape == shape) {
            Some(at) => &mut open[at],
            None => {
                let statement = db.prepare_cached(self.sql.entry(shape).or_insert_with(|| sql(shape)))?;
                open.push(Insert { shape, statement, bound: 0 });
                let last = open.len() - 1;
                &mut open[last]
            }
        };
        insert.run(flow, &mut self.scratch, |holder| self.endpoints.id(db, holder))
    }
}

fn shape(flow: &Flow) -> Shape {
    let other = if flow.other.is_some() { OTHER } else { 0 };
    GROUPS.iter().enumerate().fold(other, |shape, (bit, group)| shape | Shape::from((group.present)(flow)) << bit)
}

fn columns(shape: Shape) -> impl Iterator<Item = Column> {
    let groups = COLUMNS.iter().enumerate().filter(move |(bit, _)| shape >> bit & 1 == 1);
    groups.flat_map(|(_, columns)| columns.iter().copied())
}

fn sql(shape: Shape) -> String {
    let other = (shape & OTHER != 0).then_some("Other");
    let names: Vec<_> = columns(shape).map(Column::name).chain(other).map(|name| format!("\"{name}\"")).collect();
    format!("INSERT INTO flow_data ({}) VALUES ({})", names.join(","), vec!["?"; names.len()].join(","))
}

/// A statement under way.
struct Insert<'db> {
    shape: Shape,
    statement: CachedStatement<'db>,
    /// One bit for each parameter that is not NULL.
    bound: u128,
}

impl Insert<'_> {
    /// Inserts a row; `number` knows the number of a holder.
    fn run(
        &mut self,
        flow: &Flow,
        scratch: &mut Vec<u8>,
        mut number: impl FnMut(&HolderRef) -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<()> {
        let mut parameter = 0;
        for column in columns(self.shape) {
            let value = match column {
                Column::Field(field) => field.get(flow),
                Column::End(side) => match flow.holder(side) {
                    Some(holder) => Value::Int(number(holder)?),
                    None => Value::Absent,
                },
            };
            self.bind(parameter, value, scratch)?;
            parameter += 1;
        }
        if let Some(other) = &flow.other {
            let text = serde_json::to_string(other).unwrap_or_default();
            self.bind(parameter, Value::Text(&text), scratch)?;
        }
        self.statement.raw_execute().map(drop)
    }

    fn bind(&mut self, parameter: usize, value: Value<'_>, scratch: &mut Vec<u8>) -> rusqlite::Result<()> {
        let bit = 1 << parameter;
        match value {
            Value::Absent if self.bound & bit == 0 => return Ok(()),
            Value::Absent => {
                self.bound &= !bit;
                return self.statement.raw_bind_parameter(parameter + 1, Null);
            }
            Value::Int(number) => self.statement.raw_bind_parameter(parameter + 1, number)?,
            Value::Text(text) | Value::Json(text) => self.statement.raw_bind_parameter(parameter + 1, text)?,
            _ => {
                scratch.clear();
                value.append_text(scratch);
                self.statement.raw_bind_parameter(parameter + 1, Utf8(scratch))?;
            }
        }
        self.bound |= bit;
        Ok(())
    }
}

/// Text that this program formatted itself, so that it need not be checked again.
struct Utf8<'a>(&'a [u8]);

impl ToSql for Utf8<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::FIELDS;
    use netobserv_wire::flow::Enrichment;

    #[test]
    fn a_parameter_fits_in_the_mask_and_a_group_in_the_shape() {
        assert!(FIELDS.len() < u128::BITS as usize && GROUPS.len() < 31);
    }

    #[test]
    fn a_holder_is_one_column() {
        let flow = Flow { k8s: Some(Enrichment::default()), ..Flow::default() };
        let text = sql(shape(&flow));
        assert!(text.contains("\"SrcEnd\",\"SrcSubnetLabel\",\"DstEnd\"") && !text.contains("_Name\""), "{text}");
    }

    #[test]
    fn a_statement_names_the_columns_of_its_groups_only() {
        let flow = Flow { quic: Some(Box::default()), ..Flow::default() };
        let text = sql(shape(&flow));
        assert!(
            text.contains("\"QuicVersion\"") && text.contains("\"Bytes\"") && !text.contains("\"DnsId\""),
            "{text}"
        );
        assert!(!text.contains("\"Other\""));
    }
}
