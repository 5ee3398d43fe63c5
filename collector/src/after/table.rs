//! Rows of an answer: as a table for a person, as CSV or as JSON.

use anyhow::Context;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};
use serde_json::{Map, Number, Value as Json, json};
use unicode_width::UnicodeWidthStr;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// In columns.
    Table,
    /// An array of objects.
    Json,
    /// RFC 4180, with a line of names.
    Csv,
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<Json>>,
}

impl Answer {
    /// Rows that are known already, with a value for each column.
    pub(super) fn new(columns: Vec<String>, rows: Vec<Vec<Json>>) -> Self {
        Self { columns, rows }
    }

    /// What a query of one statement answers, `limit` rows at most.
    ///
    /// # Errors
    /// When it is wrong, or would write.
    pub(super) fn of(db: &Connection, sql: &str, limit: Option<usize>) -> anyhow::Result<Self> {
        let mut statement = db.prepare(sql)?;
        anyhow::ensure!(statement.readonly(), "only queries are allowed: captures are not changed");
        Ok(Self::read(&mut statement, limit)?)
    }

    fn read(statement: &mut Statement<'_>, limit: Option<usize>) -> rusqlite::Result<Self> {
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut answer = Self { columns, rows: Vec::new() };
        let mut rows = statement.query([])?;
        while limit.is_none_or(|limit| answer.rows.len() < limit)
            && let Some(row) = rows.next()?
        {
            let values = (0..answer.columns.len()).map(|at| Ok(value(row.get_ref(at)?)));
            answer.rows.push(values.collect::<rusqlite::Result<_>>()?);
        }
        Ok(answer)
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows as JSON objects.
    pub(super) fn objects(&self) -> Vec<Json> {
        let object = |row: &Vec<Json>| {
            Json::Object(self.columns.iter().cloned().zip(row.iter().cloned()).collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The names of the columns once, then the rows as arrays.
    pub(super) fn columns_and_rows(&self) -> Json {
        json!({"columns": self.columns, "rows": self.rows})
    }

    /// Everything in this form.
    ///
    /// # Errors
    /// When it cannot be written as such.
    pub(super) fn print(&self, form: Form) -> anyhow::Result<String> {
        Ok(match form {
            Form::Table => self.table(),
            Form::Json => serde_json::to_string_pretty(&self.objects())?,
            Form::Csv => self.csv()?,
        })
    }

    fn csv(&self) -> anyhow::Result<String> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(&self.columns)?;
        for row in &self.rows {
            out.write_record(row.iter().map(text))?;
        }
        String::from_utf8(out.into_inner()?).context("not UTF-8")
    }

    /// Numbers to the right; columns in which no row has a value are left out.
    pub(super) fn table(&self) -> String {
        let has_value = |at: &usize| self.rows.iter().any(|row| !row[*at].is_null());
        let shown: Vec<usize> = (0..self.columns.len()).filter(has_value).collect();
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| shown.iter().map(|at| text(&row[*at])).collect()).collect();
        let width = |(at, column): (usize, &usize)| {
            let widest = cells.iter().map(|row| row[at].width()).max().unwrap_or(0);
            widest.max(self.columns[*column].width())
        };
        let widths: Vec<usize> = shown.iter().enumerate().map(width).collect();
        let numbers: Vec<bool> =
            shown.iter().map(|at| self.rows.iter().all(|row| row[*at].is_number() || row[*at].is_null())).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.enumerate().map(|(at, cell)| {
                let room = " ".repeat(widths[at] - cell.width());
                if numbers[at] { room + cell } else { cell.to_owned() + &room }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head = line(&mut shown.iter().map(|at| self.columns[*at].as_str()));
        let rows = cells.iter().map(|row| line(&mut row.iter().map(String::as_str)));
        std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

fn value(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()).into(),
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sql: &str) -> Answer {
        Answer::of(&Connection::open_in_memory().unwrap(), sql, Some(9)).unwrap()
    }

    const ROWS: &str = "SELECT * FROM (VALUES ('a,\"b', 1, NULL), ('东京', 22, NULL))";

    #[test]
    fn a_table_has_aligned_columns_and_no_empty_ones() {
        let table =
            answer(&format!("SELECT column1 AS name, column2 AS number, column3 AS empty FROM ({ROWS})")).table();
        assert_eq!(table, "name  number\na,\"b       1\n东京      22");
    }

    #[test]
    fn csv_is_quoted_and_json_keeps_kinds() {
        let answer = answer(ROWS);
        assert_eq!(answer.print(Form::Csv).unwrap(), "column1,column2,column3\n\"a,\"\"b\",1,\n东京,22,\n");
        assert_eq!(answer.objects()[1], serde_json::json!({"column1": "东京", "column2": 22, "column3": null}));
    }

    #[test]
    fn a_query_that_would_write_is_refused() {
        let db = Connection::open_in_memory().unwrap();
        let error = Answer::of(&db, "CREATE TABLE x (y)", None).unwrap_err();
        assert_eq!(error.to_string(), "only queries are allowed: captures are not changed");
    }
}
