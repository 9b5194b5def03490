//! Between the relay's types and SQLite's columns.

use rusqlite::Row as SqlRow;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Version};
use crate::store::{Lane, StoreError};

/// `work.state` of a row to be sent.
pub(super) const PENDING: i64 = 0;
/// `work.state` of a row that waits for something outside.
pub(super) const WAITING: i64 = 1;
/// `work.state` of a row that waits for a person.
pub(super) const PARKED: i64 = 2;
/// `work.state` of a row about which a person decides.
pub(super) const HELD: i64 = 3;

/// A row of `place` in `table` that is not what it must be.
pub(super) fn corrupt(table: &'static str, place: impl Into<String>) -> StoreError {
    StoreError::Corrupt { table, place: place.into() }
}

/// JSON for a column.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have text keys and no failing serializer")
}

/// JSON from a column.
pub(super) fn from_json<T: DeserializeOwned>(
    text: &str,
    table: &'static str,
    place: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt(table, place))
}

/// The key in two neighbouring columns.
pub(super) fn key_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<ResourceKey> {
    Ok(ResourceKey { kind: row.get(column)?, id: row.get(column + 1)? })
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if let rusqlite::Error::FromSqlConversionFailure(column, ..)
        | rusqlite::Error::IntegralValueOutOfRange(column, _)
        | rusqlite::Error::InvalidColumnType(column, ..) = error
        {
            return corrupt("the database", format!("column {column} of a query"));
        }
        Self::Unavailable { source: Box::new(error) }
    }
}

impl ToSql for ExternalId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for ExternalId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_micros().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_micros)
    }
}

impl ToSql for Version {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_sort_key().into())
    }
}

impl FromSql for Version {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_sort_key(value.as_blob()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number: i64 = match self {
            Self::User => 0,
            Self::Group => 1,
        };
        Ok(number.into())
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::User),
            1 => Ok(Self::Group),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

impl ToSql for Lane {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number: i64 = match self {
            Self::Deprovision => 0,
            Self::Revoke => 1,
            Self::Change => 2,
            Self::Membership => 3,
            Self::Backfill => 4,
        };
        Ok(number.into())
    }
}

impl FromSql for Lane {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        let lane = usize::try_from(number).ok().and_then(|index| Self::ALL.get(index).copied());
        lane.ok_or(FromSqlError::OutOfRange(number))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn our_types_come_back_from_columns_as_they_went_in() {
        let conn = Connection::open_in_memory().unwrap();
        let back = |value: &dyn ToSql| -> rusqlite::types::Value {
            conn.query_row("SELECT ?1", [value], |row| row.get(0)).unwrap()
        };
        for lane in Lane::ALL {
            assert_eq!(Lane::column_result((&back(&lane)).into()).unwrap(), lane);
        }
        for kind in [Kind::User, Kind::Group] {
            assert_eq!(Kind::column_result((&back(&kind)).into()).unwrap(), kind);
        }
        let version = Version { occurred_at: Timestamp::from_micros(-5), event: "é".into(), index: 9 };
        assert_eq!(Version::column_result((&back(&version)).into()).unwrap(), version);
    }

    #[test]
    fn a_column_with_something_else_is_corrupt_not_unavailable() {
        let conn = Connection::open_in_memory().unwrap();
        for sql in ["SELECT 7", "SELECT 'user'", "SELECT NULL", "SELECT -1"] {
            let read: rusqlite::Result<Lane> = conn.query_row(sql, [], |row| row.get(0));
            assert!(matches!(StoreError::from(read.unwrap_err()), StoreError::Corrupt { .. }), "{sql}");
        }
    }
}
